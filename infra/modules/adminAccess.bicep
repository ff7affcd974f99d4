// What the people at the command line may do: write the vault and every table.

param groupId string
param vaultName string
param directoryName string

var roleDefinitions = 'Microsoft.Authorization/roleDefinitions'
var roles = {
  keyVaultSecretsOfficer: 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7'
  storageTableDataContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
}

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' existing = {
  name: vaultName
}

resource directory 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: directoryName
}

resource writesVault 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, groupId, roles.keyVaultSecretsOfficer)
  scope: vault
  properties: {
    roleDefinitionId: subscriptionResourceId(roleDefinitions, roles.keyVaultSecretsOfficer)
    principalId: groupId
    principalType: 'Group'
  }
}

resource writesTables 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(directory.id, groupId, roles.storageTableDataContributor)
  scope: directory
  properties: {
    roleDefinitionId: subscriptionResourceId(roleDefinitions, roles.storageTableDataContributor)
    principalId: groupId
    principalType: 'Group'
  }
}
