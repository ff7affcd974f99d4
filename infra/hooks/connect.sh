#!/bin/sh
# After azd has made the resources: gateway.env, and the portal's way back from sign-in, which it takes without a secret.
set -eu

./gateway azure env
. ./gateway.env
az ad app update --id "$PORTAL_CLIENT_ID" --web-redirect-uris "$PORTAL_REDIRECT_URI"
credential=$(printf '{"name": "portal", "audiences": ["api://AzureADTokenExchange"], "subject": "%s", "issuer": "%s"}' \
    "$PORTAL_PRINCIPAL_ID" "$PORTAL_ISSUER")
if az ad app federated-credential show --id "$PORTAL_CLIENT_ID" --federated-credential-id portal > /dev/null 2>&1; then
    az ad app federated-credential update --id "$PORTAL_CLIENT_ID" --federated-credential-id portal --parameters "$credential"
else
    az ad app federated-credential create --id "$PORTAL_CLIENT_ID" --parameters "$credential"
fi
