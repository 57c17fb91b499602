{{/* Numbers that follow from other values: seconds, pods, the grace period. */}}

{{/* Seconds in "90s", "2m" or "1h". */}}
{{- define "sparkway.seconds" -}}
{{- $number := trimAll "smh" . | int }}
{{- if hasSuffix "h" . }}{{ mul $number 3600 }}{{ else if hasSuffix "m" . }}{{ mul $number 60 }}{{ else }}{{ $number }}{{ end }}
{{- end }}

{{/* Most pods there can be, a rollout's surge aside. */}}
{{- define "sparkway.maxPods" -}}
{{- if .Values.keda.enabled }}{{ int .Values.keda.maxReplicaCount }}
{{- else if .Values.autoscaling.enabled }}{{ int .Values.autoscaling.maxReplicas }}
{{- else }}{{ int .Values.replicaCount }}{{ end }}
{{- end }}

{{/* Pods meant by a number or a percentage: list VALUE PODS ROUNDING, rounding "up" or "down". */}}
{{- define "sparkway.podsOf" -}}
{{- $value := index . 0 | toString }}
{{- $pods := index . 1 | int }}
{{- if hasSuffix "%" $value }}
{{- $hundredths := mul (trimSuffix "%" $value | int) $pods }}
{{- if eq (index . 2) "up" }}{{ div (add $hundredths 99) 100 }}{{ else }}{{ div $hundredths 100 }}{{ end }}
{{- else }}{{ int $value }}{{ end }}
{{- end }}

{{/* Pods that a rollout drains at the same time. */}}
{{- define "sparkway.drainingAtOnce" -}}
{{- $pods := include "sparkway.maxPods" . | int }}
{{- if eq .Values.strategy.type "Recreate" }}{{ $pods }}
{{- else }}
{{- $surge := include "sparkway.podsOf" (list .Values.strategy.rollingUpdate.maxSurge $pods "up") | int }}
{{- $missing := include "sparkway.podsOf" (list .Values.strategy.rollingUpdate.maxUnavailable $pods "down") | int }}
{{- max 1 (min $pods (add $surge $missing)) }}
{{- end }}
{{- end }}

{{/* Seconds from the signal to the last forced close, plus 15 to flush and leave. */}}
{{- define "sparkway.neededGrace" -}}
{{- add (include "sparkway.seconds" .Values.drain.readinessDelay) (include "sparkway.seconds" .Values.drain.duration) 15 }}
{{- end }}

{{- define "sparkway.grace" -}}
{{- default (include "sparkway.neededGrace" .) .Values.drain.terminationGracePeriodSeconds | int }}
{{- end }}

{{/* 70 % of what a pod takes, unless a number was given: list GIVEN PER_POD. */}}
{{- define "sparkway.connectionsTarget" -}}
{{- if index . 0 }}{{ index . 0 | int }}{{ else }}{{ div (mul (index . 1 | int) 7) 10 }}{{ end }}
{{- end }}
