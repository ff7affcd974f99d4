// A function app on a Flex Consumption plan of its own, with its identity and its package. What its code reads is
// written by settings.bicep.

@export()
@description('Callers by service tag or IPv4 range, and what a header of theirs has to say.')
type accessRule = {
  name: string
  priority: int
  action: 'Allow'
  tag: 'Default' | 'ServiceTag'
  ipAddress: string
  headers: { *: string[] }?
}

param name string

@description('The service of azure.yaml that azd publishes here.')
param service string
param storageName string
param location string
param tags { *: string }
param applicationInsightsName string
param pythonVersion string

@description('The package and the host\'s state are reached from the app\'s network alone.')
param closed bool
param subnetId string
param endpointSubnetId string
param blobZoneId string

param instanceMemory int = 2048
param maximumInstances int = 40
param alwaysReadyInstances int = 0
param perInstanceConcurrency int = 100
param zoneRedundant bool = false
param updateStrategy string = 'Recreate'
param adminIsolation bool = false

@description('Origins whose pages may call the app from a browser: the platform itself answers preflights.')
param allowedOrigins string[] = []

@description('Who reaches the app, if not everybody.')
param callers accessRule[] = []

var packages = 'packages'
var blobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
var monitoringMetricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb'

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: name
  location: location
  tags: tags
}

// Each app has an account of its own: who may write an account may replace the code of the app that runs from it.
resource storage 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  name: storageName
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: zoneRedundant ? 'Standard_ZRS' : 'Standard_LRS' }
  properties: {
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: closed ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'None'
      defaultAction: closed ? 'Deny' : 'Allow'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' = {
  parent: storage
  name: 'default'
  properties: {
    deleteRetentionPolicy: { enabled: true, days: 7 }
  }
}

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = {
  parent: blobs
  name: packages
  properties: { publicAccess: 'None' }
}

module endpoint 'privateEndpoint.bicep' = if (closed) {
  name: '${storageName}-endpoint'
  params: {
    name: '${storageName}-endpoint'
    location: location
    tags: tags
    targetId: storage.id
    part: 'blob'
    subnetId: endpointSubnetId
    dnsZoneId: blobZoneId
  }
}

// The host makes containers for its locks and keys, so it needs the whole account.
resource ownsItsStorage 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage.id, identity.id, blobDataOwner)
  scope: storage
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataOwner)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

resource publishesTelemetry 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(applicationInsights.id, identity.id, monitoringMetricsPublisher)
  scope: applicationInsights
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', monitoringMetricsPublisher)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: name
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource site 'Microsoft.Web/sites@2025-03-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': service })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identity.id}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    virtualNetworkSubnetId: closed ? subnetId : null
    // The service takes the next two; its published types lack them.
    // The host's own /admin endpoints are answered to nobody, not even with its master key.
    #disable-next-line BCP037 // not in the types
    functionsRuntimeAdminIsolationEnabled: adminIsolation
    // A certificate for a custom domain can be bound only to an app that was made with this.
    #disable-next-line BCP037 // not in the types
    siteScopedCertificatesEnabled: true
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      http20Enabled: true
      ftpsState: 'Disabled'
      remoteDebuggingEnabled: false
      cors: { allowedOrigins: allowedOrigins, supportCredentials: false }
      ipSecurityRestrictions: callers
      ipSecurityRestrictionsDefaultAction: empty(callers) ? 'Allow' : 'Deny'
      scmIpSecurityRestrictionsUseMain: false
      scmIpSecurityRestrictionsDefaultAction: 'Allow'
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.properties.primaryEndpoints.blob}${packages}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identity.id
          }
        }
      }
      runtime: { name: 'python', version: pythonVersion }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemory
        maximumInstanceCount: maximumInstances
        alwaysReady: alwaysReadyInstances > 0 ? [{ name: 'http', instanceCount: alwaysReadyInstances }] : []
        triggers: { http: { perInstanceConcurrency: perInstanceConcurrency } }
      }
      #disable-next-line BCP037 // a preview, not in the types
      siteUpdateStrategy: { type: updateStrategy }
    }
  }
  dependsOn: [container, ownsItsStorage, endpoint]
}

// Publishing takes an Entra token; passwords for it would never expire, and nobody's name would stand on them.
resource ftpPasswords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: site
  name: 'ftp'
  properties: { allow: false }
}

resource scmPasswords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: site
  name: 'scm'
  properties: { allow: false }
  dependsOn: [ftpPasswords] // one at a time
}

output hostName string = site.properties.defaultHostName
output domainVerificationId string = site.properties.customDomainVerificationId
output principalId string = identity.properties.principalId
output clientId string = identity.properties.clientId
output hostSettings { *: string } = {
  AzureWebJobsStorage__blobServiceUri: storage.properties.primaryEndpoints.blob
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identity.properties.clientId
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.properties.clientId};Authorization=AAD'
  AZURE_CLIENT_ID: identity.properties.clientId
}
