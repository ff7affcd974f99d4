// What one app may do: read or write the vault, and read or write tables, each for itself.

param identityName string
param vaultName string
param vaultRole 'read' | 'write'
param directoryName string
param readTables string[]
param writeTables string[]

var roleDefinitions = 'Microsoft.Authorization/roleDefinitions'
var roles = {
  keyVaultSecretsUser: '4633458b-17de-408a-b874-0445c86b69e6'
  keyVaultSecretsOfficer: 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7'
  storageTableDataReader: '76199698-9eea-4c19-bc75-cec21354c6b6'
  storageTableDataContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
}

var vaultRoleId = vaultRole == 'write' ? roles.keyVaultSecretsOfficer : roles.keyVaultSecretsUser

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
}

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' existing = {
  name: vaultName
}

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2025-06-01' existing = {
  name: '${directoryName}/default'
}

resource readable 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-06-01' existing = [
  for table in readTables: {
    parent: tableService
    name: table
  }
]

resource writable 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-06-01' existing = [
  for table in writeTables: {
    parent: tableService
    name: table
  }
]

// The names are made of resource IDs, which what-if knows; what the identity is in Entra is known once it is made.
resource usesVault 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, identity.id, vaultRoleId)
  scope: vault
  properties: {
    roleDefinitionId: subscriptionResourceId(roleDefinitions, vaultRoleId)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource readsTable 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (table, index) in readTables: {
    name: guid(readable[index].id, identity.id, roles.storageTableDataReader)
    scope: readable[index]
    properties: {
      roleDefinitionId: subscriptionResourceId(roleDefinitions, roles.storageTableDataReader)
      principalId: identity.properties.principalId
      principalType: 'ServicePrincipal'
    }
  }
]

resource writesTable 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (table, index) in writeTables: {
    name: guid(writable[index].id, identity.id, roles.storageTableDataContributor)
    scope: writable[index]
    properties: {
      roleDefinitionId: subscriptionResourceId(roleDefinitions, roles.storageTableDataContributor)
      principalId: identity.properties.principalId
      principalType: 'ServicePrincipal'
    }
  }
]
