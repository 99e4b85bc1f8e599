{{- define "ziggurat.name" -}}
{{- $both := printf "%s-%s" .Release.Name .Chart.Name -}}
{{- contains .Chart.Name .Release.Name | ternary .Release.Name $both | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "ziggurat.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ziggurat.labels" -}}
{{ include "ziggurat.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- /* Numbers come as floats, and quote writes those from a million on as 1e+06, which no setting of bytes reads. */ -}}
{{- define "ziggurat.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end -}}

{{- /* limits.queue becomes ZIGGURAT_LIMITS__QUEUE */ -}}
{{- define "ziggurat.variable" -}}
ZIGGURAT_{{ . | replace "." "__" | upper }}
{{- end -}}
