// Table Storage: tenants, clients, page handles, and what happened to each of them. No app's host keeps anything here.

param name string
param location string
param tags { *: string }
param redundancy string
param workspaceId string

@description('Reached by its private endpoint and from `allowedAddresses` alone.')
param closed bool
param allowedAddresses string[]
param endpointSubnetId string
param dnsZoneId string

var tableNames = ['Tenants', 'Clients', 'Pages', 'Usage', 'Traffic', 'Revoked', 'Assertions', 'Checks', 'Activity']

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: redundancy }
  properties: {
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: closed && empty(allowedAddresses) ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'None'
      defaultAction: closed ? 'Deny' : 'Allow'
      ipRules: [for address in allowedAddresses: { value: address, action: 'Allow' }]
    }
  }
}

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2025-06-01' = {
  parent: account
  name: 'default'
}

resource tables 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-06-01' = [
  for table in tableNames: {
    parent: tableService
    name: table
  }
]

// Who changed which row, whatever it was changed with. Reads would be every request's.
resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: tableService
  properties: {
    workspaceId: workspaceId
    logs: [
      { category: 'StorageWrite', enabled: true }
      { category: 'StorageDelete', enabled: true }
    ]
  }
}

module endpoint 'privateEndpoint.bicep' = if (closed) {
  name: '${name}-endpoint'
  params: {
    name: '${name}-endpoint'
    location: location
    tags: tags
    targetId: account.id
    part: 'table'
    subnetId: endpointSubnetId
    dnsZoneId: dnsZoneId
  }
}

output tablesEndpoint string = 'https://${account.name}.table.${environment().suffixes.storage}'
