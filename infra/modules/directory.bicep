// Table Storage: tenants, clients, page handles and usage. No app's host keeps anything here.

param name string
param location string
param tags object
param redundancy string
param workspaceId string

@description('Reached by its private endpoint and from `allowedAddresses` alone.')
param closed bool
param allowedAddresses array
param endpointSubnetId string
param dnsZoneId string

var tableNames = ['Tenants', 'Clients', 'Pages', 'Usage']

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  // checkov:skip=CKV_AZURE_35:closed unless privateNetwork is off; then no firewall could tell the apps by address
  // checkov:skip=CKV_AZURE_206:how often it is copied is a parameter
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

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2024-01-01' = {
  parent: account
  name: 'default'
}

resource tables 'Microsoft.Storage/storageAccounts/tableServices/tables@2024-01-01' = [for table in tableNames: {
  parent: tableService
  name: table
}]

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

output name string = account.name
output tablesEndpoint string = 'https://${account.name}.table.${environment().suffixes.storage}'
