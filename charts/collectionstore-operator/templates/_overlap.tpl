{{/* Refuse to look after what another installation looks after: each has a Lease of its own, so that both would act. */}}
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
{{- fail (printf "\n\nThe operator %s in the namespace %s looks after the clusters of %s already, and two would act on them.\nSet watchNamespaces of both so that no namespace is in both, or upgrade that installation in place of this one.\nrefuseOverlap=false installs it all the same." (last $place) (first $place) (join ", " $shared | replace "*" "all namespaces")) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
