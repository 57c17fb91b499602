{{/* Parts of the pod that stand in more than one place, or would drown the Deployment. */}}

{{/* What the gateway's container and the configuration check have in common. */}}
{{- define "sparkway.containerShape" -}}
env:
  {{- include "sparkway.env" . | trim | nindent 2 }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
volumeMounts:
  {{- include "sparkway.mounts" . | trim | nindent 2 }}
{{- end }}

{{/* The same for the containers of the test pod; more mounts may follow. */}}
{{- define "sparkway.testShape" -}}
resources:
  requests: {cpu: 50m, memory: 64Mi}
  limits: {memory: 256Mi}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
volumeMounts:
  - name: token
    mountPath: /run/sparkway-test
{{- end }}

{{/* Where pods may run. */}}
{{- define "sparkway.podScheduling" -}}
{{- with include "sparkway.imagePullSecrets" . }}
{{- trim . }}
{{- end }}
{{- if .Values.affinity }}
affinity:
  {{- toYaml .Values.affinity | nindent 2 }}
{{- else if ne .Values.podAntiAffinityPreset "none" }}
{{- $term := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" (dict "matchLabels" (include "sparkway.selectorLabels" . | fromYaml)) }}
affinity:
  podAntiAffinity:
    {{- if eq .Values.podAntiAffinityPreset "hard" }}
    requiredDuringSchedulingIgnoredDuringExecution:
      {{- toYaml (list $term) | nindent 6 }}
    {{- else }}
    preferredDuringSchedulingIgnoredDuringExecution:
      {{- toYaml (list (dict "weight" 100 "podAffinityTerm" $term)) | nindent 6 }}
    {{- end }}
{{- end }}
{{- $spread := list }}
{{- $selector := dict "matchLabels" (include "sparkway.selectorLabels" . | fromYaml) }}
{{- if .Values.topologySpreadConstraints }}
{{- range .Values.topologySpreadConstraints }}
{{- $spread = append $spread (merge (deepCopy .) (dict "labelSelector" $selector)) }}
{{- end }}
{{- else }}
{{- range $preset, $key := dict "zone" "topology.kubernetes.io/zone" "host" "kubernetes.io/hostname" }}
{{- $given := index $.Values.topologySpread $preset }}
{{- if $given.enabled }}
{{- $spread = append $spread (dict "topologyKey" $key "maxSkew" (int $given.maxSkew) "whenUnsatisfiable" $given.whenUnsatisfiable "labelSelector" $selector "matchLabelKeys" (list "pod-template-hash")) }}
{{- end }}
{{- end }}
{{- end }}
{{- with $spread }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}
