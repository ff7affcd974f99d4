// What one app may do: read or write the vault, and read or write tables, each for itself.

param principalId string
param vaultName string

@allowed(['read', 'write'])
param vaultRole string
param directoryName string
param readTables array
param writeTables array

var roleDefinitions = 'Microsoft.Authorization/roleDefinitions'
var roles = {
  keyVaultSecretsUser: '4633458b-17de-408a-b874-0445c86b69e6'
  keyVaultSecretsOfficer: 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7'
  storageTableDataReader: '76199698-9eea-4c19-bc75-cec21354c6b6'
  storageTableDataContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
}

var vaultRoleId = vaultRole == 'write' ? roles.keyVaultSecretsOfficer : roles.keyVaultSecretsUser

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' existing = {
  name: vaultName
}

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2024-01-01' existing = {
  name: '${directoryName}/default'
}

resource readable 'Microsoft.Storage/storageAccounts/tableServices/tables@2024-01-01' existing = [for table in readTables: {
  parent: tableService
  name: table
}]

resource writable 'Microsoft.Storage/storageAccounts/tableServices/tables@2024-01-01' existing = [for table in writeTables: {
  parent: tableService
  name: table
}]

resource usesVault 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, principalId, vaultRoleId)
  scope: vault
  properties: {
    roleDefinitionId: subscriptionResourceId(roleDefinitions, vaultRoleId)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource readsTable 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (table, index) in readTables: {
  name: guid(readable[index].id, principalId, roles.storageTableDataReader)
  scope: readable[index]
  properties: {
    roleDefinitionId: subscriptionResourceId(roleDefinitions, roles.storageTableDataReader)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}]

resource writesTable 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (table, index) in writeTables: {
  name: guid(writable[index].id, principalId, roles.storageTableDataContributor)
  scope: writable[index]
  properties: {
    roleDefinitionId: subscriptionResourceId(roleDefinitions, roles.storageTableDataContributor)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}]
