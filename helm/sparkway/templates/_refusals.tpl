{{/* Combinations that would only fail in the cluster, or later. Each message names the key to change. */}}

{{- define "sparkway.refusals" -}}
{{- include "sparkway.refuse.store" . }}
{{- include "sparkway.refuse.secrets" . }}
{{- include "sparkway.refuse.config" . }}
{{- include "sparkway.refuse.scaling" . }}
{{- include "sparkway.refuse.rollout" . }}
{{- include "sparkway.refuse.entry" . }}
{{- include "sparkway.refuse.watching" . }}
{{- end }}

{{- define "sparkway.refuse.store" -}}
{{- $redis := .Values.store.redis }}
{{- $sources := list }}
{{- if $redis.url }}{{ $sources = append $sources "store.redis.url" }}{{ end }}
{{- if $redis.sentinel.enabled }}{{ $sources = append $sources "store.redis.sentinel.enabled" }}{{ end }}
{{- if $redis.cluster.enabled }}{{ $sources = append $sources "store.redis.cluster.enabled" }}{{ end }}
{{- if $redis.demo.enabled }}{{ $sources = append $sources "store.redis.demo.enabled" }}{{ end }}
{{- if include "sparkway.storeUrlFromSecret" . }}{{ $sources = append $sources "secrets.*.redisUrl" }}{{ end }}
{{- if eq .Values.store.mode "memory" }}
{{- if gt (int .Values.replicaCount) 1 }}
{{- fail "replicaCount: more than one pod cannot share a store in memory; set store.mode=redis" }}
{{- end }}
{{- if .Values.autoscaling.enabled }}
{{- fail "autoscaling.enabled: pods cannot share a store in memory; set store.mode=redis" }}
{{- end }}
{{- if .Values.keda.enabled }}
{{- fail "keda.enabled: pods cannot share a store in memory; set store.mode=redis" }}
{{- end }}
{{- if $sources }}
{{- fail (printf "%s: is not used while store.mode=memory; set store.mode=redis" (first $sources)) }}
{{- end }}
{{- else }}
{{- if not $sources }}
{{- fail "store.redis: with store.mode=redis set one of store.redis.url, .sentinel.enabled, .cluster.enabled, .demo.enabled, secrets.keys.redisUrl" }}
{{- end }}
{{- if gt (len $sources) 1 }}
{{- fail (printf "store.redis: keep one of %s" (join ", " $sources)) }}
{{- end }}
{{- if and $redis.sentinel.enabled (not $redis.sentinel.nodes) }}
{{- fail "store.redis.sentinel.nodes: name at least one Sentinel as host:port" }}
{{- end }}
{{- if and $redis.cluster.enabled (not $redis.cluster.nodes) }}
{{- fail "store.redis.cluster.nodes: name at least one node as host:port" }}
{{- end }}
{{- if and $redis.username (not $redis.passwordSecret.name) }}
{{- fail "store.redis.username: needs store.redis.passwordSecret.name" }}
{{- end }}
{{- if and $redis.passwordSecret.name (or $redis.demo.enabled (include "sparkway.storeUrlFromSecret" .)) }}
{{- fail "store.redis.passwordSecret.name: the demo store and an address from a Secret bring their own password; leave it empty" }}
{{- end }}
{{- if and $redis.tls.enabled (not (or $redis.sentinel.enabled $redis.cluster.enabled)) }}
{{- fail "store.redis.tls.enabled: is for Sentinel and Cluster; for one server write rediss:// in its address" }}
{{- end }}
{{- if and $redis.demo.enabled (gt (int (include "sparkway.maxPods" .)) 1) (not $redis.demo.acknowledge) }}
{{- fail "store.redis.demo.acknowledge: the demo store is one pod without replica; set it to true to run several gateways on it all the same" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sparkway.refuse.secrets" -}}
{{- if .Values.secrets.existingSecret }}
{{- range $key, $value := .Values.secrets.create }}
{{- if $value }}
{{- fail (printf "secrets.create.%s: is not used with secrets.existingSecret; leave it empty" $key) }}
{{- end }}
{{- end }}
{{- if not (or .Values.secrets.keys.tokenKey .Values.existingConfigMap) }}
{{- $auth := default dict .Values.config.auth }}
{{- if not (or $auth.public_key $auth.keys $auth.jwks_url (eq (default "" $auth.mode) "off")) }}
{{- fail "secrets.keys.tokenKey: clients could not be authenticated; set it, or config.auth.public_key, .keys or .jwks_url" }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sparkway.refuse.config" -}}
{{- if and .Values.config .Values.existingConfigMap }}
{{- fail "existingConfigMap: config would not be used; leave one of the two empty" }}
{{- end }}
{{- $owned := dict "server.listen" "ports.public and listenHost" "internal.listen" "ports.internal and listenHost" "server.tls" "tls" "store.url" "store.redis" "store.key_prefix" "store.keyPrefix" "store.partitions" "store.partitions" "store.ca_file" "store.redis.tls.caSecret" "drain" "drain" "limits.connections" "limits.connectionsPerPod" "limits.handshakes_per_second" "limits.handshakesPerSecond" "tracing.otlp_endpoint" "tracing.endpoint" "tracing.sample_ratio" "tracing.sampleRatio" "log.level" "log.level" "log.format" "log.format" "api.keys" "secrets" "auth.hs256_secret" "secrets" "hooks.secret" "secrets" }}
{{- range $path, $instead := $owned }}
{{- $steps := splitList "." $path }}
{{- $table := index $.Values.config (first $steps) }}
{{- $found := not (kindIs "invalid" $table) }}
{{- if and $found (gt (len $steps) 1) }}
{{- $found = and (kindIs "map" $table) (hasKey $table (last $steps)) }}
{{- end }}
{{- if $found }}
{{- fail (printf "config.%s: the chart sets this; use %s" $path $instead) }}
{{- end }}
{{- end }}
{{- include "sparkway.refuse.secretsIn" (list "config" .Values.config) }}
{{- end }}

{{/* Anything in the configuration that looks like a secret: list PATH VALUE. */}}
{{- define "sparkway.refuse.secretsIn" -}}
{{- $path := index . 0 }}
{{- $value := index . 1 }}
{{- if kindIs "map" $value }}
{{- range $key, $inner := $value }}
{{- if and (regexMatch "(?i)(^|_)(secret|secrets|password|passwd|token|private_key|api_key)$" $key) (not (kindIs "map" $inner)) }}
{{- fail (printf "%s.%s: a secret does not belong in a ConfigMap; put it in a Secret and name it under secrets or extraEnv" $path $key) }}
{{- end }}
{{- include "sparkway.refuse.secretsIn" (list (printf "%s.%s" $path $key) $inner) }}
{{- end }}
{{- else if kindIs "slice" $value }}
{{- range $value }}{{ include "sparkway.refuse.secretsIn" (list $path .) }}{{ end }}
{{- else if kindIs "string" $value }}
{{- if or (regexMatch "://[^/@\\s]*:[^/@\\s]*@" $value) (hasPrefix "swk_" $value) }}
{{- fail (printf "%s: a secret does not belong in a ConfigMap; put it in a Secret and name it under secrets or extraEnv" $path) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sparkway.refuse.scaling" -}}
{{- $hpa := .Values.autoscaling }}
{{- $perPod := int .Values.limits.connectionsPerPod }}
{{- if and $hpa.enabled .Values.keda.enabled }}
{{- fail "keda.enabled: KEDA makes its own autoscaler; turn autoscaling.enabled off" }}
{{- end }}
{{- if $hpa.enabled }}
{{- if gt (int $hpa.minReplicas) (int $hpa.maxReplicas) }}
{{- fail "autoscaling.minReplicas: is above autoscaling.maxReplicas" }}
{{- end }}
{{- if not (or $hpa.cpu.targetUtilization $hpa.memory.targetUtilization $hpa.connections.enabled $hpa.load.enabled $hpa.extraMetrics) }}
{{- fail "autoscaling.cpu.targetUtilization: there is no metric left to scale on; set one" }}
{{- end }}
{{- range $resource := list "cpu" "memory" }}
{{- if and (index $hpa $resource).targetUtilization (not (dig "requests" $resource "" $.Values.resources)) }}
{{- fail (printf "autoscaling.%s.targetUtilization: is a share of resources.requests.%s, which is missing" $resource $resource) }}
{{- end }}
{{- end }}
{{- if $hpa.connections.enabled }}
{{- if not (or $hpa.connections.targetAverage $perPod) }}
{{- fail "autoscaling.connections.targetAverage: set it, or limits.connectionsPerPod to take 70 % of" }}
{{- end }}
{{- if and $perPod (gt (int $hpa.connections.targetAverage) $perPod) }}
{{- fail (printf "autoscaling.connections.targetAverage: pods refuse connections above limits.connectionsPerPod=%d, so the target %d is never met" $perPod (int $hpa.connections.targetAverage)) }}
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.keda.enabled }}
{{- $keda := .Values.keda }}
{{- if gt (int $keda.minReplicaCount) (int $keda.maxReplicaCount) }}
{{- fail "keda.minReplicaCount: is above keda.maxReplicaCount" }}
{{- end }}
{{- if not (or $keda.prometheus.serverAddress $keda.triggers) }}
{{- fail "keda.triggers: there is nothing to scale on; set keda.prometheus.serverAddress or a trigger" }}
{{- end }}
{{- if $keda.prometheus.serverAddress }}
{{- if not (or $keda.prometheus.threshold $perPod) }}
{{- fail "keda.prometheus.threshold: set it, or limits.connectionsPerPod to take 70 % of" }}
{{- end }}
{{- if and $perPod (gt (int $keda.prometheus.threshold) $perPod) }}
{{- fail (printf "keda.prometheus.threshold: pods refuse connections above limits.connectionsPerPod=%d, so the threshold is never met" $perPod) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sparkway.refuse.rollout" -}}
{{- $grace := include "sparkway.grace" . | int }}
{{- $needed := include "sparkway.neededGrace" . | int }}
{{- if lt $grace $needed }}
{{- fail (printf "drain.terminationGracePeriodSeconds: %d would kill the pod before its drain ends; needs at least readinessDelay + duration + 15 = %d" $grace $needed) }}
{{- end }}
{{- if and (hasKey .Values.lifecycle "preStop") (not .Values.drain.terminationGracePeriodSeconds) }}
{{- fail "drain.terminationGracePeriodSeconds: a preStop hook uses up the grace period; set it to the hook's time + readinessDelay + duration + 15" }}
{{- end }}
{{- $perPod := int .Values.limits.connectionsPerPod }}
{{- $pods := include "sparkway.drainingAtOnce" . | int }}
{{- $duration := include "sparkway.seconds" .Values.drain.duration | int }}
{{- $rate := int .Values.drain.maxRate }}
{{- if gt (mul $perPod $pods) (mul $duration $rate) }}
{{- fail (printf "drain.duration: %d pods drain at once, %d connections each, at %d closes/s; needs at least %ds (or a higher drain.maxRate, or a lower strategy.rollingUpdate.maxSurge)" $pods $perPod $rate (div (add (mul $perPod $pods) $rate -1) $rate)) }}
{{- end }}
{{- $rolling := .Values.strategy.rollingUpdate }}
{{- if and (eq .Values.strategy.type "RollingUpdate") (has (toString $rolling.maxSurge) (list "0" "0%")) (has (toString $rolling.maxUnavailable) (list "0" "0%")) }}
{{- fail "strategy.rollingUpdate.maxSurge: with maxUnavailable 0 as well no rollout could begin" }}
{{- end }}
{{- $startup := mul .Values.probes.startup.periodSeconds .Values.probes.startup.failureThreshold }}
{{- if le (int .Values.progressDeadlineSeconds) (int (add .Values.minReadySeconds $startup)) }}
{{- fail (printf "progressDeadlineSeconds: must be above minReadySeconds + the startup probe's %ds" $startup) }}
{{- end }}
{{- end }}

{{- define "sparkway.refuse.entry" -}}
{{- if eq (int .Values.ports.public) (int .Values.ports.internal) }}
{{- fail "ports.internal: is the same as ports.public" }}
{{- end }}
{{- if eq .Values.service.type "ClusterIP" }}
{{- if .Values.service.externalTrafficPolicy }}
{{- fail "service.externalTrafficPolicy: needs service.type NodePort or LoadBalancer" }}
{{- end }}
{{- end }}
{{- if and .Values.service.loadBalancerSourceRanges (ne .Values.service.type "LoadBalancer") }}
{{- fail "service.loadBalancerSourceRanges: needs service.type LoadBalancer" }}
{{- end }}
{{- if .Values.ingress.enabled }}
{{- if not .Values.ingress.hosts }}{{ fail "ingress.hosts: name at least one host" }}{{ end }}
{{- range .Values.ingress.hosts }}
{{- if not .host }}{{ fail "ingress.hosts: an entry has no host" }}{{ end }}
{{- end }}
{{- end }}
{{- $gateway := .Values.gateway }}
{{- if and $gateway.httpRoute.enabled (not (or $gateway.httpRoute.parentRefs $gateway.create.enabled)) }}
{{- fail "gateway.httpRoute.parentRefs: name a Gateway, or set gateway.create.enabled" }}
{{- end }}
{{- if and $gateway.create.enabled (not $gateway.create.className) }}
{{- fail "gateway.create.className: name a GatewayClass" }}
{{- end }}
{{- $tls := .Values.tls }}
{{- if $tls.enabled }}
{{- if not (or $tls.existingSecret $tls.certManager.enabled) }}
{{- fail "tls.existingSecret: name the Secret with the certificate, or set tls.certManager.enabled" }}
{{- end }}
{{- if or .Values.ingress.enabled $gateway.httpRoute.enabled }}
{{- fail "tls.enabled: end TLS in one place; with an Ingress or an HTTPRoute turn it off and set ingress.tls or the Gateway's listener" }}
{{- end }}
{{- end }}
{{- if $tls.certManager.enabled }}
{{- if not $tls.enabled }}{{ fail "tls.certManager.enabled: the certificate would not be used; set tls.enabled" }}{{ end }}
{{- if not $tls.certManager.issuerRef.name }}{{ fail "tls.certManager.issuerRef.name: name an issuer" }}{{ end }}
{{- end }}
{{- if .Values.console.ingress.enabled }}
{{- if not .Values.console.ingress.hosts }}{{ fail "console.ingress.hosts: name at least one host" }}{{ end }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.allowInternalFrom) }}
{{- fail "networkPolicy.allowInternalFrom: name the Ingress controller, or console.ingress reaches nothing" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sparkway.refuse.watching" -}}
{{- $metrics := .Values.metrics }}
{{- $ways := list }}
{{- if $metrics.scrapeAnnotations }}{{ $ways = append $ways "metrics.scrapeAnnotations" }}{{ end }}
{{- if $metrics.serviceMonitor.enabled }}{{ $ways = append $ways "metrics.serviceMonitor.enabled" }}{{ end }}
{{- if $metrics.podMonitor.enabled }}{{ $ways = append $ways "metrics.podMonitor.enabled" }}{{ end }}
{{- if gt (len $ways) 1 }}
{{- fail (printf "%s: every pod would be scraped twice and all sums doubled; keep one of %s" (last $ways) (join ", " $ways)) }}
{{- end }}
{{- if $metrics.serviceMonitor.enabled }}
{{- if gt (int (include "sparkway.seconds" $metrics.serviceMonitor.scrapeTimeout)) (int (include "sparkway.seconds" $metrics.serviceMonitor.interval)) }}
{{- fail "metrics.serviceMonitor.scrapeTimeout: is above metrics.serviceMonitor.interval" }}
{{- end }}
{{- end }}
{{- if and .Values.tracing.enabled (not .Values.tracing.endpoint) }}
{{- fail "tracing.endpoint: name the collector" }}
{{- end }}
{{- end }}
