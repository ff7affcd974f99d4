// Where logs go: a workspace, Application Insights on it, and the audit lines as a table of their own.

param name string
param location string
param tags { *: string }
param retentionDays int
param applicationInsightsName string

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = {
  name: '${name}-logs'
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: retentionDays
    features: {
      disableLocalAuth: true
      enableLogAccessUsingOnlyResourcePermissions: true
    }
  }
}

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' = {
  name: applicationInsightsName
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    DisableLocalAuth: true
    DisableIpMasking: false
  }
}

// Audit lines are the messages of log records, in JSON. `gateway` is the hop that no other accounts for, so the hops'
// sum is the whole time; a token request has one time only.
resource audit 'Microsoft.OperationalInsights/workspaces/savedSearches@2025-07-01' = {
  parent: workspace
  name: 'gateway-audit'
  properties: {
    category: 'Gateway'
    displayName: 'The gateway\'s audit lines'
    functionAlias: 'GatewayAudit'
    version: 2
    query: loadTextContent('../queries/audit.kql')
  }
}

output workspaceId string = workspace.id
