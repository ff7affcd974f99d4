// The page an operator opens first: where the time goes, who fails, what was changed.

param name string
param location string
param tags { *: string }
param workspaceId string

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'gateway')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: '${name}: the gateway'
    category: 'workbook'
    sourceId: workspaceId
    serializedData: loadTextContent('../workbook.json')
  }
}
