#!/bin/sh
# After both apps are published: tables and signing key, what doctor finds, and smoke, which plays the app. That needs a
# hospital: the one of FHIR_TENANT_ID, and of FHIR_VERSION (r4); with FHIR_BASE_URL it is made, for a server without
# sign-in, whether it does batches or not.
set -eu

again() { # roles, and apps that start, take some minutes
    tries=20
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep "${RETRY_SECONDS:-30}"
    done
}

./gateway azure env
. ./gateway.env
again ./gateway init
again curl --fail --silent --show-error "$PUBLIC_BASE_URL/health"
./gateway doctor

if [ -z "${FHIR_BASE_URL:-}${FHIR_TENANT_ID:-}" ]; then
    echo "There is no hospital to play the app with: see docs/deployment.md, The first client, the first hospital."
    exit
fi
tenant=${FHIR_TENANT_ID:-$(az account show --query tenantId --output tsv)}
version=${FHIR_VERSION:-r4}
[ -z "${FHIR_BASE_URL:-}" ] || ./gateway tenant set "$tenant" "$version" --name 'First hospital' --base-url "$FHIR_BASE_URL" \
    --batch split
made=$(./gateway client create --json --name 'Smoke test' --owner operator --tenants "$tenant" --expires 1d)
field() { printf '%s' "$made" | sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p"; }
trap './gateway client delete --yes "$(field client_id)"' EXIT
export GATEWAY_CLIENT_SECRET="$(field client_secret)"
./gateway smoke --base-url "$PUBLIC_BASE_URL" --client-id "$(field client_id)" --tenant "$tenant" --base "$version"
