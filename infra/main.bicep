// A deployment of the gateway: the public app, the closed portal, and all that they need. See docs/deployment.md.

targetScope = 'resourceGroup'

@description('Begins the name of every resource: small letters and digits. With the group it decides the host names.')
@minLength(3)
@maxLength(10)
param name string = 'fhirgw'

param location string = resourceGroup().location

param tags object = {}

@description('The client ID of the portal\'s Entra registration, with the app roles of the guide.')
param portalClientId string

@description('The object ID of the Entra group that may write directory and vault by the command line. Empty: nobody.')
param adminGroupId string = ''

@description('Receives the alerts. Empty: alerts are only seen in the Azure portal.')
param alertEmail string = ''

// The network

@description('Vault, tables and packages are behind private endpoints, and providers see one fixed address.')
param privateNetwork bool = true

@description('The addresses of the virtual network and of its subnets.')
param addresses object = {
  network: '10.20.0.0/22'
  gateway: '10.20.0.0/24'
  portal: '10.20.1.0/26'
  endpoints: '10.20.1.64/26'
}

@description('With privateNetwork: public IPv4 ranges that reach vault and tables besides, such as an admin\'s.')
param adminAddresses array = []

@description('The gateway\'s own host name, once it is added to the public app. Empty: one of azurewebsites.net.')
param customDomain string = ''

// Scale

@allowed(['3.11', '3.12', '3.13'])
param pythonVersion string = '3.12'

@allowed([512, 2048, 4096])
param instanceMemory int = 2048

@minValue(1)
@maxValue(1000)
param maximumInstances int = 40

@description('Instances that never sleep; a zone-redundant plan takes two at least.')
@minValue(0)
param alwaysReadyInstances int = 0

@description('Requests that one instance serves at a time. They mostly wait for providers.')
@minValue(1)
@maxValue(1000)
param perInstanceConcurrency int = 100

param zoneRedundant bool = false

@description('RollingUpdate publishes without an interruption; it is a preview that not every region has.')
@allowed(['Recreate', 'RollingUpdate'])
param updateStrategy string = 'Recreate'

@description('How the directory is copied: within a datacenter, across zones, or to another region too.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
param directoryRedundancy string = 'Standard_ZRS'

// Monitoring

@description('How long logs are kept, the audit lines among them.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 90

@description('The 95th percentile of a FHIR request\'s whole time, in milliseconds, above which somebody is told.')
param slowMilliseconds int = 5000

@description('Asks the gateway for its health from three places, every five minutes.')
param healthProbe bool = true

// The gateway's settings: the README's table says what each is

@allowed(['dstu2', 'stu3', 'r4'])
param defaultFhirVersion string = 'stu3'

@minValue(60)
@maxValue(86400)
param tokenLifetimeSeconds int = 3600

@minValue(1)
@maxValue(3600)
param cacheSeconds int = 60

@minValue(0)
@maxValue(86400)
param staleSeconds int = 900

@minValue(1)
@maxValue(220)
param upstreamTimeoutSeconds int = 30

@minValue(1)
@maxValue(100)
param maxResponseMB int = 50

var suffix = take(uniqueString(resourceGroup().id), 6)

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  params: {
    name: name
    location: location
    tags: tags
    retentionDays: logRetentionDays
  }
}

module network 'modules/network.bicep' = if (privateNetwork) {
  name: 'network'
  params: {
    name: name
    location: location
    tags: tags
    addresses: addresses
    zoneRedundant: zoneRedundant
  }
}

module vault 'modules/vault.bicep' = {
  name: 'vault'
  params: {
    name: '${name}-kv-${suffix}'
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    closed: privateNetwork
    allowedAddresses: adminAddresses
    endpointSubnetId: privateNetwork ? network!.outputs.endpointSubnetId : ''
    dnsZoneId: privateNetwork ? network!.outputs.vaultZoneId : ''
  }
}

module directory 'modules/directory.bicep' = {
  name: 'directory'
  params: {
    name: toLower('${name}dir${suffix}')
    location: location
    tags: tags
    redundancy: directoryRedundancy
    workspaceId: monitoring.outputs.workspaceId
    closed: privateNetwork
    allowedAddresses: adminAddresses
    endpointSubnetId: privateNetwork ? network!.outputs.endpointSubnetId : ''
    dnsZoneId: privateNetwork ? network!.outputs.tableZoneId : ''
  }
}

module gateway 'modules/functionApp.bicep' = {
  name: 'gateway'
  params: {
    name: '${name}-${suffix}'
    storageName: toLower('${name}app${suffix}')
    location: location
    tags: tags
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    closed: privateNetwork
    subnetId: privateNetwork ? network!.outputs.gatewaySubnetId : ''
    endpointSubnetId: privateNetwork ? network!.outputs.endpointSubnetId : ''
    blobZoneId: privateNetwork ? network!.outputs.blobZoneId : ''
    pythonVersion: pythonVersion
    instanceMemory: instanceMemory
    maximumInstances: maximumInstances
    alwaysReadyInstances: alwaysReadyInstances
    perInstanceConcurrency: perInstanceConcurrency
    zoneRedundant: zoneRedundant
    updateStrategy: updateStrategy
  }
}

module portal 'modules/functionApp.bicep' = {
  name: 'portal'
  params: {
    name: '${name}-portal-${suffix}'
    storageName: toLower('${name}portal${suffix}')
    location: location
    tags: tags
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    closed: privateNetwork
    subnetId: privateNetwork ? network!.outputs.portalSubnetId : ''
    endpointSubnetId: privateNetwork ? network!.outputs.endpointSubnetId : ''
    blobZoneId: privateNetwork ? network!.outputs.blobZoneId : ''
    pythonVersion: pythonVersion
  }
}

module gatewayAccess 'modules/access.bicep' = {
  name: 'gatewayAccess'
  params: {
    principalId: gateway.outputs.principalId
    vaultName: vault.outputs.name
    vaultRole: 'read'
    directoryName: directory.outputs.name
    readTables: ['Tenants', 'Clients']
    writeTables: ['Pages', 'Usage']
  }
}

module portalAccess 'modules/access.bicep' = {
  name: 'portalAccess'
  params: {
    principalId: portal.outputs.principalId
    vaultName: vault.outputs.name
    vaultRole: 'write'
    directoryName: directory.outputs.name
    readTables: ['Usage']
    writeTables: ['Tenants', 'Clients']
  }
}

module adminAccess 'modules/adminAccess.bicep' = if (!empty(adminGroupId)) {
  name: 'adminAccess'
  params: {
    groupId: adminGroupId
    vaultName: vault.outputs.name
    directoryName: directory.outputs.name
  }
}

var publicBaseUrl = 'https://${empty(customDomain) ? gateway.outputs.hostName : customDomain}'

var settings = {
  PUBLIC_BASE_URL: publicBaseUrl
  KEY_VAULT_URL: vault.outputs.url
  TABLES_ENDPOINT: directory.outputs.tablesEndpoint
  DEFAULT_FHIR_VERSION: defaultFhirVersion
  TOKEN_LIFETIME_SECONDS: string(tokenLifetimeSeconds)
  CACHE_SECONDS: string(cacheSeconds)
  STALE_SECONDS: string(staleSeconds)
  UPSTREAM_TIMEOUT_SECONDS: string(upstreamTimeoutSeconds)
  MAX_RESPONSE_MB: string(maxResponseMB)
}

module gatewaySettings 'modules/settings.bicep' = {
  name: 'gatewaySettings'
  params: {
    siteName: gateway.outputs.name
    hostSettings: gateway.outputs.hostSettings
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    settings: union(settings, {
      PORTAL_AUTH: 'off'
      'AzureWebJobs.portal_fn.Disabled': 'true'
    })
  }
}

module portalSettings 'modules/settings.bicep' = {
  name: 'portalSettings'
  params: {
    siteName: portal.outputs.name
    hostSettings: portal.outputs.hostSettings
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    settings: union(settings, {
      PORTAL_AUTH: 'entra'
      // Entra sign-in proves the app by its managed identity: there is no client secret to keep.
      OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID: portal.outputs.clientId
      WEBSITE_AUTH_AAD_ALLOWED_TENANTS: tenant().tenantId
      'AzureWebJobs.fhir_proxy_fn.Disabled': 'true'
      'AzureWebJobs.health_fn.Disabled': 'true'
      'AzureWebJobs.metadata_fn.Disabled': 'true'
      'AzureWebJobs.root_fn.Disabled': 'true'
      'AzureWebJobs.token_fn.Disabled': 'true'
    })
  }
}

module signIn 'modules/signIn.bicep' = {
  name: 'signIn'
  params: {
    siteName: portal.outputs.name
    clientId: portalClientId
  }
  dependsOn: [portalSettings]
}

module domain 'modules/customDomain.bicep' = if (!empty(customDomain)) {
  name: 'domain'
  params: {
    siteName: gateway.outputs.name
    location: location
    hostName: customDomain
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  params: {
    name: name
    location: location
    tags: tags
    email: alertEmail
    workspaceId: monitoring.outputs.workspaceId
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    vaultId: vault.outputs.id
    slowMilliseconds: slowMilliseconds
    probedUrl: healthProbe ? '${publicBaseUrl}/health' : ''
  }
}

module workbook 'modules/workbook.bicep' = {
  name: 'workbook'
  params: {
    name: name
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
  }
}

@description('What an app is told, and the PUBLIC_BASE_URL of the command line.')
output publicBaseUrl string = publicBaseUrl

@description('The KEY_VAULT_URL of the command line.')
output keyVaultUrl string = vault.outputs.url

@description('The TABLES_ENDPOINT of the command line.')
output tablesEndpoint string = directory.outputs.tablesEndpoint

@description('The apps to publish to.')
output gatewayAppName string = gateway.outputs.name
output portalAppName string = portal.outputs.name

output portalUrl string = 'https://${portal.outputs.hostName}/portal'

@description('The redirect URI of the portal\'s Entra registration.')
output portalRedirectUri string = 'https://${portal.outputs.hostName}/.auth/login/aad/callback'

@description('The subject of that registration\'s federated credential.')
output portalPrincipalId string = portal.outputs.principalId

@description('The target of a custom domain\'s CNAME record, and the value of its asuid TXT record.')
output gatewayHostName string = gateway.outputs.hostName
output domainVerificationId string = gateway.outputs.domainVerificationId

@description('The address that providers see and can let in; empty without privateNetwork, when it changes.')
output outboundAddress string = privateNetwork ? network!.outputs.outboundAddress : ''
