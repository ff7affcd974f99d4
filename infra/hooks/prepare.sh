#!/bin/sh
# Before azd deploys: the portal's registration in Entra, the group that may use the command line, and the parameter file
# of the deployment, where there is none yet. docs/deployment.md does the same by hand.
set -eu

if [ -e infra/gateway.bicepparam ]; then
    exec ./gateway azure check
fi

PORTAL_CLIENT_ID=$(az ad app list --filter "displayName eq 'FHIR gateway portal'" --query '[0].appId' --output tsv)
if [ -z "$PORTAL_CLIENT_ID" ]; then
    PORTAL_CLIENT_ID=$(az ad app create --display-name 'FHIR gateway portal' --sign-in-audience AzureADMyOrg \
        --enable-id-token-issuance true --app-roles @infra/app-roles.json --query appId --output tsv)
    az ad sp create --id "$PORTAL_CLIENT_ID" --output none
    az ad sp update --id "$PORTAL_CLIENT_ID" --set appRoleAssignmentRequired=true
    az ad app permission grant --id "$PORTAL_CLIENT_ID" --api 00000003-0000-0000-c000-000000000000 \
        --scope openid profile email --output none ||
        echo "Nobody can sign in to the portal until a Cloud Application Administrator has run this last command." >&2
fi

if [ -z "${ADMIN_GROUP_ID:-}" ]; then
    ADMIN_GROUP_ID=$(az ad group list --filter "displayName eq 'FHIR gateway admins'" --query '[0].id' --output tsv)
fi
if [ -z "$ADMIN_GROUP_ID" ]; then
    ADMIN_GROUP_ID=$(az ad group create --display-name 'FHIR gateway admins' --mail-nickname fhir-gateway-admins \
        --query id --output tsv)
    az ad group member add --group "$ADMIN_GROUP_ID" --member-id "$(az ad signed-in-user show --query id --output tsv)"
fi

if [ -n "${AZURE_SUBSCRIPTION_ID:-}" ] && [ -n "${AZURE_LOCATION:-}" ] && [ -n "${AZURE_RESOURCE_GROUP:-}" ]; then
    az group create --subscription "$AZURE_SUBSCRIPTION_ID" --name "$AZURE_RESOURCE_GROUP" --location "$AZURE_LOCATION" \
        --output none
fi
export PORTAL_CLIENT_ID ADMIN_GROUP_ID GATEWAY_SIZE="${GATEWAY_SIZE:-small}"
exec ./gateway azure init
