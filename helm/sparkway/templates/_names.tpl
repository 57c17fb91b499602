{{/* Names, labels and image references. */}}

{{- define "sparkway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* At most 40 characters: the longest suffix is added to it, and names end at 63. */}}
{{- define "sparkway.fullname" -}}
{{- $name := include "sparkway.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "sparkway.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: sparkway
{{- with .Values.global.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What selects the gateway's pods, and nothing else of the release. */}}
{{- define "sparkway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "sparkway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "sparkway.labels" -}}
{{ include "sparkway.selectorLabels" . }}
{{ include "sparkway.commonLabels" . }}
{{- end }}

{{/* The same for another component: list ROOT NAME. */}}
{{- define "sparkway.componentSelectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "sparkway.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "sparkway.componentLabels" -}}
{{ include "sparkway.componentSelectorLabels" . }}
{{ include "sparkway.commonLabels" (index . 0) }}
{{- end }}

{{- define "sparkway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "sparkway.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "sparkway.image" -}}
{{- $registry := default .Values.global.imageRegistry .Values.image.registry }}
{{- with $registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ default .Chart.AppVersion .Values.image.tag }}{{ end }}
{{- end }}

{{- define "sparkway.imagePullSecrets" -}}
{{- $names := concat .Values.global.imagePullSecrets .Values.imagePullSecrets | uniq }}
{{- if $names }}
imagePullSecrets:
{{- range $names }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sparkway.configMapName" -}}
{{- default (include "sparkway.fullname" .) .Values.existingConfigMap }}
{{- end }}

{{- define "sparkway.secretName" -}}
{{- default (include "sparkway.fullname" .) .Values.secrets.existingSecret }}
{{- end }}

{{- define "sparkway.tlsSecretName" -}}
{{- default (printf "%s-tls" (include "sparkway.fullname" .)) .Values.tls.existingSecret }}
{{- end }}

{{- define "sparkway.demoName" -}}
{{ include "sparkway.fullname" . }}-redis-demo
{{- end }}
