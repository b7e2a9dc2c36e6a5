{{/* Fail if another installation watches the same namespace: each has its own Lease, so both would be active. */}}
{{- define "operator.refuseOverlap" -}}
{{- if .Values.refuseOverlap }}
{{- $own := include "operator.clusterName" . }}
{{- $wanted := .Values.watchNamespaces }}
{{- range (lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" "").items }}
{{- $watches := dig "annotations" "collectionstore.io/watches" "" .metadata }}
{{- if and $watches (ne .metadata.name $own) }}
{{- $theirs := splitList "," $watches }}
{{- $shared := list }}
{{- range $theirs }}
{{- if or (eq . "*") (not $wanted) (has . $wanted) }}
{{- $shared = append $shared . }}
{{- end }}
{{- end }}
{{- if $shared }}
{{- $place := splitList ":" .metadata.name }}
{{- fail (printf "\n\nThe operator %s in the namespace %s already watches %s. Two operators must not manage the same cluster.\nSet watchNamespaces of both installations so that they do not overlap, or upgrade the existing one.\nrefuseOverlap=false disables this check." (last $place) (first $place) (join ", " $shared | replace "*" "all namespaces")) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
