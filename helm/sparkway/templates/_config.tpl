{{/* The gateway's configuration: the TOML file, the store's address, environment and mounts. */}}

{{/* One TOML value. Helm's own toToml writes whole numbers as floats, which the gateway refuses. */}}
{{- define "sparkway.tomlValue" -}}
{{- if kindIs "map" . }}
{{- $parts := list }}
{{- range $key, $value := . }}
{{- if not (kindIs "invalid" $value) }}
{{- $parts = append $parts (printf "%s = %s" (include "sparkway.tomlKey" $key) (include "sparkway.tomlValue" $value)) }}
{{- end }}
{{- end }}
{{- printf "{ %s }" (join ", " $parts) }}
{{- else if kindIs "slice" . }}
{{- $parts := list }}
{{- range . }}
{{- $parts = append $parts (include "sparkway.tomlValue" .) }}
{{- end }}
{{- printf "[%s]" (join ", " $parts) }}
{{- else }}
{{- toJson . }}
{{- end }}
{{- end }}

{{- define "sparkway.tomlKey" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ toJson . }}{{ end }}
{{- end }}

{{/* A table: its plain keys, then each table inside under its own heading. list PATH MAP. */}}
{{- define "sparkway.toml" -}}
{{- $path := index . 0 }}
{{- $table := index . 1 }}
{{- range $key, $value := $table }}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ include "sparkway.tomlKey" $key }} = {{ include "sparkway.tomlValue" $value }}
{{- end }}
{{- end }}
{{- range $key, $value := $table }}
{{- if kindIs "map" $value }}
{{- $inner := append $path (include "sparkway.tomlKey" $key) }}

[{{ join "." $inner }}]
{{- include "sparkway.toml" (list $inner $value) }}
{{- end }}
{{- end }}
{{- end }}

{{/* "true" when clients' tokens are checked with the HS256 key from the Secret. */}}
{{- define "sparkway.usesTokenKey" -}}
{{- if .Values.secrets.existingSecret }}
{{- if .Values.secrets.keys.tokenKey }}true{{ end }}
{{- else if .Values.secrets.create.tokenKey }}true
{{- else if not .Values.existingConfigMap }}
{{- $auth := default dict .Values.config.auth }}
{{- if not (or $auth.public_key $auth.keys $auth.jwks_url (eq (default "" $auth.mode) "off")) }}true{{ end }}
{{- end }}
{{- end }}

{{/* JSON list of the entries that are mounted from the Secret, as {key, path}. */}}
{{- define "sparkway.secretItems" -}}
{{- $secrets := .Values.secrets }}
{{- $items := list }}
{{- if $secrets.existingSecret }}
{{- range list (list $secrets.keys.apiKeys "api-keys") (list $secrets.keys.tokenKey "token-key") (list $secrets.keys.redisUrl "redis-url") (list $secrets.keys.hookSecret "hook-secret") }}
{{- if index . 0 }}
{{- $items = append $items (dict "key" (index . 0) "path" (index . 1)) }}
{{- end }}
{{- end }}
{{- else }}
{{- $items = append $items (dict "key" "api-keys" "path" "api-keys") }}
{{- if include "sparkway.usesTokenKey" . }}
{{- $items = append $items (dict "key" "token-key" "path" "token-key") }}
{{- end }}
{{- range list (list $secrets.create.redisUrl "redis-url") (list $secrets.create.hookSecret "hook-secret") }}
{{- if index . 0 }}
{{- $items = append $items (dict "key" (index . 1) "path" (index . 1)) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $items }}
{{- end }}

{{/* "true" when the whole store address comes from the Secret. */}}
{{- define "sparkway.storeUrlFromSecret" -}}
{{- if .Values.secrets.existingSecret }}
{{- if .Values.secrets.keys.redisUrl }}true{{ end }}
{{- else if .Values.secrets.create.redisUrl }}true{{ end }}
{{- end }}

{{/* The store's address. A password stands in it as $(REDIS_PASSWORD), which Kubernetes replaces. */}}
{{- define "sparkway.storeUrl" -}}
{{- $redis := .Values.store.redis }}
{{- $login := "" }}
{{- if $redis.passwordSecret.name }}
{{- $login = printf "%s:$(REDIS_PASSWORD)@" $redis.username }}
{{- end }}
{{- $scheme := ternary "rediss" "redis" $redis.tls.enabled }}
{{- if eq .Values.store.mode "memory" }}memory:
{{- else if $redis.demo.enabled }}redis://:$(REDIS_PASSWORD)@{{ include "sparkway.demoName" . }}:6379/0
{{- else if $redis.sentinel.enabled }}{{ $scheme }}+sentinel://{{ $login }}{{ join "," $redis.sentinel.nodes }}/{{ $redis.sentinel.masterName }}
{{- else if $redis.cluster.enabled }}{{ $scheme }}+cluster://{{ $login }}{{ join "," $redis.cluster.nodes }}
{{- else }}{{ $redis.url | replace "://" (printf "://%s" $login) }}
{{- end }}
{{- end }}

{{/* Environment of the gateway. These win over the file, so a key set here cannot be contradicted by it. */}}
{{- define "sparkway.env" -}}
{{- $secretDir := "/run/secrets/sparkway" }}
- name: SPARKWAY_CONFIG
  value: /etc/sparkway/sparkway.toml
- name: SPARKWAY__SERVER__LISTEN
  value: {{ printf "%s:%d" .Values.listenHost (int .Values.ports.public) | quote }}
- name: SPARKWAY__INTERNAL__LISTEN
  value: {{ printf "%s:%d" .Values.listenHost (int .Values.ports.internal) | quote }}
{{- if .Values.tls.enabled }}
- name: SPARKWAY__SERVER__TLS__CERT
  value: /run/secrets/sparkway-tls/tls.crt
- name: SPARKWAY__SERVER__TLS__KEY
  value: /run/secrets/sparkway-tls/tls.key
{{- end }}
- name: SPARKWAY__API__KEYS__FILE
  value: {{ $secretDir }}/api-keys
{{- if include "sparkway.usesTokenKey" . }}
- name: SPARKWAY__AUTH__HS256_SECRET__FILE
  value: {{ $secretDir }}/token-key
{{- end }}
{{- if or .Values.secrets.create.hookSecret (and .Values.secrets.existingSecret .Values.secrets.keys.hookSecret) }}
- name: SPARKWAY__HOOKS__SECRET__FILE
  value: {{ $secretDir }}/hook-secret
{{- end }}
{{- if and (eq .Values.store.mode "redis") (include "sparkway.storeUrlFromSecret" .) }}
- name: SPARKWAY__STORE__URL__FILE
  value: {{ $secretDir }}/redis-url
{{- else }}
{{- if eq .Values.store.mode "redis" }}
{{- if .Values.store.redis.demo.enabled }}
- name: REDIS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "sparkway.demoName" . }}, key: password}}
{{- else if .Values.store.redis.passwordSecret.name }}
- name: REDIS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .Values.store.redis.passwordSecret.name }}, key: {{ .Values.store.redis.passwordSecret.key }}}}
{{- end }}
{{- end }}
- name: SPARKWAY__STORE__URL
  value: {{ include "sparkway.storeUrl" . | quote }}
{{- end }}
- name: SPARKWAY__STORE__KEY_PREFIX
  value: {{ .Values.store.keyPrefix | quote }}
{{- with .Values.store.partitions }}
- name: SPARKWAY__STORE__PARTITIONS
  value: {{ int . | quote }}
{{- end }}
{{- if and (eq .Values.store.mode "redis") .Values.store.redis.tls.caSecret.name }}
- name: SPARKWAY__STORE__CA_FILE
  value: /run/secrets/sparkway-store-ca/ca.crt
{{- end }}
- name: SPARKWAY__DRAIN__READINESS_DELAY
  value: {{ .Values.drain.readinessDelay | quote }}
- name: SPARKWAY__DRAIN__DURATION
  value: {{ .Values.drain.duration | quote }}
- name: SPARKWAY__DRAIN__MAX_RATE
  value: {{ int .Values.drain.maxRate | quote }}
- name: SPARKWAY__REBALANCE__ENABLED
  value: {{ .Values.rebalance.enabled | quote }}
{{- if .Values.rebalance.enabled }}
- name: SPARKWAY__REBALANCE__THRESHOLD
  value: {{ .Values.rebalance.threshold | quote }}
- name: SPARKWAY__REBALANCE__RATE
  value: {{ .Values.rebalance.rate | quote }}
- name: SPARKWAY__REBALANCE__MIN_CONNECTIONS
  value: {{ int .Values.rebalance.minConnections | quote }}
{{- end }}
{{- if .Values.maxConnectionAge.enabled }}
- name: SPARKWAY__REBALANCE__MAX_CONNECTION_AGE
  value: {{ .Values.maxConnectionAge.age | quote }}
{{- end }}
{{- with .Values.limits.connectionsPerPod }}
- name: SPARKWAY__LIMITS__CONNECTIONS
  value: {{ int . | quote }}
{{- end }}
{{- with .Values.limits.handshakesPerSecond }}
- name: SPARKWAY__LIMITS__HANDSHAKES_PER_SECOND
  value: {{ int . | quote }}
{{- end }}
{{- if .Values.tracing.enabled }}
- name: SPARKWAY__TRACING__OTLP_ENDPOINT
  value: {{ .Values.tracing.endpoint | quote }}
- name: SPARKWAY__TRACING__SAMPLE_RATIO
  value: {{ .Values.tracing.sampleRatio | quote }}
{{- end }}
- name: SPARKWAY__LOG__LEVEL
  value: {{ .Values.log.level }}
- name: SPARKWAY__LOG__FORMAT
  value: {{ .Values.log.format }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sparkway.mounts" -}}
- name: config
  mountPath: /etc/sparkway
  readOnly: true
- name: secrets
  mountPath: /run/secrets/sparkway
  readOnly: true
{{- if .Values.tls.enabled }}
- name: tls
  mountPath: /run/secrets/sparkway-tls
  readOnly: true
{{- end }}
{{- if and (eq .Values.store.mode "redis") .Values.store.redis.tls.caSecret.name }}
- name: store-ca
  mountPath: /run/secrets/sparkway-store-ca
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sparkway.volumes" -}}
- name: config
  configMap:
    name: {{ include "sparkway.configMapName" . }}
- name: secrets
  secret:
    secretName: {{ include "sparkway.secretName" . }}
    items:
      {{- range include "sparkway.secretItems" . | fromJsonArray }}
      - {key: {{ .key }}, path: {{ .path }}}
      {{- end }}
{{- if .Values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ include "sparkway.tlsSecretName" . }}
{{- end }}
{{- if and (eq .Values.store.mode "redis") .Values.store.redis.tls.caSecret.name }}
- name: store-ca
  secret:
    secretName: {{ .Values.store.redis.tls.caSecret.name }}
    items:
      - {key: {{ .Values.store.redis.tls.caSecret.key }}, path: ca.crt}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
