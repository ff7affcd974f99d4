// A deployment of the gateway: the public app, the closed portal, and all that they need. See docs/deployment.md.

targetScope = 'resourceGroup'

import { addressPlan } from 'modules/network.bicep'
import { accessRule } from 'modules/functionApp.bicep'

@description('Begins the name of every resource: small letters and digits. With the group it decides the host names.')
@minLength(3)
@maxLength(10)
param name string = 'fhirgw'

param location string = resourceGroup().location

param tags { *: string } = {}

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
param addresses addressPlan = {
  network: '10.20.0.0/22'
  gateway: '10.20.0.0/24'
  portal: '10.20.1.0/26'
  endpoints: '10.20.1.64/26'
}

@description('Public IPv4 ranges, such as an admin\'s, that get past a closed network and past a closed front.')
param adminAddresses string[] = []

@description('The ID of the Azure Front Door that alone may reach the public app. Empty: it is open, or see frontAddresses.')
param frontDoorId string = ''

@description('The public IPv4 ranges of a firewall of your own that alone may reach the public app.')
param frontAddresses string[] = []

@description('Origins of browser apps, such as https://app.example.com: the platform answers their preflights.')
param allowedOrigins string[] = []

@description('The gateway\'s own host name, once its front, or the public app itself, has it. Empty: one of azurewebsites.net.')
param customDomain string = ''

// Scale

@allowed(['3.11', '3.12', '3.13'])
param pythonVersion string = '3.13'

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

@description('Nobody reaches the host\'s own /admin endpoints. Publishing asks for them: false whenever somebody publishes.')
param adminIsolation bool = false

// The gateway's settings: the README's table says what each is

@allowed(['dstu2', 'stu3', 'r4', 'r4b', 'r5'])
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

@minValue(1)
@maxValue(1000)
param clientsPerOwner int = 20

var suffix = take(uniqueString(resourceGroup().id), 6)

// Every name that more than one module needs is made here: what-if sees nothing of a resource whose name, or the name of
// what it belongs to, another module puts out.
var gatewayName = '${name}-${suffix}'
var portalName = '${name}-portal-${suffix}'
var vaultName = '${name}-kv-${suffix}'
var directoryName = toLower('${name}dir${suffix}')
var applicationInsightsName = '${name}-insights'

var fronted = !empty(frontDoorId) || !empty(frontAddresses)
var ownName = fronted && empty(customDomain)
  ? fail('customDomain must be the host name of what stands before the app')
  : customDomain

// A service tag lets in everybody's Front Door: the header, which Front Door itself sets, says whose it is.
var frontDoor accessRule[] = empty(frontDoorId)
  ? []
  : [
      {
        name: 'front-door'
        priority: 100
        action: 'Allow'
        tag: 'ServiceTag'
        ipAddress: 'AzureFrontDoor.Backend'
        headers: { 'x-azure-fdid': [frontDoorId] }
      }
    ]

var frontRules accessRule[] = [
  for (range, index) in concat(frontAddresses, adminAddresses): {
    name: 'address-${index}'
    priority: 200 + index
    action: 'Allow'
    tag: 'Default'
    ipAddress: range
  }
]

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  params: {
    name: name
    location: location
    tags: tags
    retentionDays: logRetentionDays
    applicationInsightsName: applicationInsightsName
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
    name: vaultName
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
    name: directoryName
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
    name: gatewayName
    service: 'gateway'
    storageName: toLower('${name}app${suffix}')
    location: location
    tags: tags
    applicationInsightsName: applicationInsightsName
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
    adminIsolation: adminIsolation
    allowedOrigins: allowedOrigins
    callers: fronted ? concat(frontDoor, frontRules) : []
  }
  dependsOn: [monitoring]
}

module portal 'modules/functionApp.bicep' = {
  name: 'portal'
  params: {
    name: portalName
    service: 'portal'
    storageName: toLower('${name}portal${suffix}')
    location: location
    tags: tags
    applicationInsightsName: applicationInsightsName
    closed: privateNetwork
    subnetId: privateNetwork ? network!.outputs.portalSubnetId : ''
    endpointSubnetId: privateNetwork ? network!.outputs.endpointSubnetId : ''
    blobZoneId: privateNetwork ? network!.outputs.blobZoneId : ''
    pythonVersion: pythonVersion
    adminIsolation: adminIsolation
  }
  dependsOn: [monitoring]
}

module gatewayAccess 'modules/access.bicep' = {
  name: 'gatewayAccess'
  params: {
    identityName: gatewayName
    vaultName: vaultName
    vaultRole: 'read'
    directoryName: directoryName
    readTables: ['Tenants', 'Clients']
    writeTables: ['Pages', 'Usage', 'Traffic', 'Revoked', 'Assertions']
  }
  dependsOn: [gateway, vault, directory]
}

module portalAccess 'modules/access.bicep' = {
  name: 'portalAccess'
  params: {
    identityName: portalName
    vaultName: vaultName
    vaultRole: 'write'
    directoryName: directoryName
    readTables: []
    // The last five for upkeep_fn alone, which deletes what has expired in them: no built-in role only deletes.
    writeTables: ['Tenants', 'Clients', 'Checks', 'Activity', 'Pages', 'Usage', 'Traffic', 'Revoked', 'Assertions']
  }
  dependsOn: [portal, vault, directory]
}

module adminAccess 'modules/adminAccess.bicep' = if (!empty(adminGroupId)) {
  name: 'adminAccess'
  params: {
    groupId: adminGroupId
    vaultName: vaultName
    directoryName: directoryName
  }
  dependsOn: [vault, directory]
}

var publicBaseUrl = 'https://${empty(ownName) ? gateway.outputs.hostName : ownName}'

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
  CLIENTS_PER_OWNER: string(clientsPerOwner)
  // The host itself answers what is larger with a bare 500: a megabyte above what the code refuses with a reason.
  FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: string(21 * 1024 * 1024)
}

// Both apps get the same package.
var publicFunctions = ['discovery_fn', 'fhir_proxy_fn', 'health_fn', 'metadata_fn', 'root_fn', 'token_fn']
var closedFunctions = ['portal_fn', 'upkeep_fn']

func switchedOff(functions string[]) { *: string } =>
  toObject(functions, f => 'AzureWebJobs.${f}.Disabled', f => 'true')

module gatewaySettings 'modules/settings.bicep' = {
  name: 'gatewaySettings'
  params: {
    siteName: gatewayName
    hostSettings: gateway.outputs.hostSettings
    applicationInsightsName: applicationInsightsName
    settings: union(settings, switchedOff(closedFunctions), { PORTAL_AUTH: 'off' })
  }
}

module portalSettings 'modules/settings.bicep' = {
  name: 'portalSettings'
  params: {
    siteName: portalName
    hostSettings: portal.outputs.hostSettings
    applicationInsightsName: applicationInsightsName
    settings: union(settings, switchedOff(publicFunctions), {
      PORTAL_AUTH: 'entra'
      // Entra sign-in proves the app by its managed identity: there is no client secret to keep.
      OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID: portal.outputs.clientId
      WEBSITE_AUTH_AAD_ALLOWED_TENANTS: tenant().tenantId
    })
  }
}

module signIn 'modules/signIn.bicep' = {
  name: 'signIn'
  params: {
    siteName: portalName
    clientId: portalClientId
  }
  dependsOn: [portalSettings]
}

module domain 'modules/customDomain.bicep' = if (!empty(customDomain) && !fronted) {
  name: 'domain'
  params: {
    siteName: gatewayName
    location: location
    hostName: customDomain
  }
  dependsOn: [gatewaySettings]
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  params: {
    name: name
    location: location
    tags: tags
    email: alertEmail
    workspaceId: monitoring.outputs.workspaceId
    applicationInsightsName: applicationInsightsName
    vaultId: vault.outputs.id
    slowMilliseconds: slowMilliseconds
    healthProbe: healthProbe
    publicBaseUrl: publicBaseUrl
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
output gatewayAppName string = gatewayName
output portalAppName string = portalName

output portalUrl string = 'https://${portal.outputs.hostName}/portal'

@description('The redirect URI of the portal\'s Entra registration.')
output portalRedirectUri string = 'https://${portal.outputs.hostName}/.auth/login/aad/callback'

@description('Subject and issuer of that registration\'s federated credential.')
output portalPrincipalId string = portal.outputs.principalId
output portalIssuer string = '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
output portalClientId string = portalClientId

@description('The target of a custom domain\'s CNAME record, and the value of its asuid TXT record.')
output gatewayHostName string = gateway.outputs.hostName
output domainVerificationId string = gateway.outputs.domainVerificationId

@description('The address that providers see and can let in; empty without privateNetwork, when it changes.')
output outboundAddress string = privateNetwork ? network!.outputs.outboundAddress : ''
