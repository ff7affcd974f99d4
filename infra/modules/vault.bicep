// Key Vault: hashes of client secrets, the signing key, and the providers' credentials.

param name string
param location string
param tags { *: string }
param workspaceId string

@description('Reached by its private endpoint and from `allowedAddresses` alone.')
param closed bool
param allowedAddresses string[]
param endpointSubnetId string
param dnsZoneId string

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    enablePurgeProtection: true
    enabledForDeployment: false
    enabledForDiskEncryption: false
    enabledForTemplateDeployment: false
    publicNetworkAccess: closed && empty(allowedAddresses) ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'None'
      defaultAction: closed ? 'Deny' : 'Allow'
      ipRules: [for address in allowedAddresses: { value: address }]
    }
  }
}

resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: vault
  properties: {
    workspaceId: workspaceId
    logAnalyticsDestinationType: 'Dedicated'
    logs: [{ categoryGroup: 'audit', enabled: true }]
  }
}

module endpoint 'privateEndpoint.bicep' = if (closed) {
  name: '${name}-endpoint'
  params: {
    name: '${name}-endpoint'
    location: location
    tags: tags
    targetId: vault.id
    part: 'vault'
    subnetId: endpointSubnetId
    dnsZoneId: dnsZoneId
  }
}

output id string = vault.id
output url string = 'https://${vault.name}${environment().suffixes.keyvaultDns}'
