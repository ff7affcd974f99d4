// Who is told of what: rules on the audit lines, on the vault's refusals, and on the gateway's health.

param name string
param location string
param tags { *: string }
param email string
param workspaceId string
param applicationInsightsName string
param vaultId string
param slowMilliseconds int

param publicBaseUrl string

@description('The gateway is asked for its health every five minutes.')
param healthProbe bool

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: '${name}-operators'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: take(name, 12)
    emailReceivers: empty(email) ? [] : [{ name: 'operators', emailAddress: email, useCommonAlertSchema: true }]
  }
}

var rules = [
  {
    name: 'server-errors'
    description: 'More than 5 % of FHIR requests ended in 5xx. Runbook: Requests end in 5xx.'
    severity: 1
    query: loadTextContent('../queries/serverErrors.kql')
    column: 'percent'
    threshold: 5
    dimensions: []
  }
  {
    name: 'host-errors'
    description: 'The Functions host answered 500 before any function was asked. Runbook: Searches by code end in 500.'
    severity: 1
    query: loadTextContent('../queries/hostErrors.kql')
    column: 'unaudited'
    threshold: 0
    dimensions: []
  }
  {
    name: 'slow'
    description: 'The 95th percentile of FHIR requests\' time is too high. Runbook: Latency is up.'
    severity: 2
    query: loadTextContent('../queries/slow.kql')
    column: 'p95'
    threshold: slowMilliseconds
    dimensions: []
  }
  {
    name: 'provider-failures'
    description: 'More than 20 % of a tenant\'s requests could not be served by its provider. Runbook: A provider is down.'
    severity: 2
    query: loadTextContent('../queries/providerFailures.kql')
    column: 'percent'
    threshold: 20
    dimensions: [{ name: 'tenant', operator: 'Include', values: ['*'] }]
  }
  {
    name: 'token-failures'
    description: 'More than 20 % of token requests were refused. Runbook: Token requests are refused.'
    severity: 2
    query: loadTextContent('../queries/tokenFailures.kql')
    column: 'percent'
    threshold: 20
    dimensions: []
  }
  {
    name: 'expiring'
    description: 'A secret or a certificate ends within 30 days: the audit line names it. Runbook: Something ends soon.'
    severity: 3
    query: loadTextContent('../queries/expiring.kql')
    column: 'lines'
    threshold: 0
    dimensions: [
      { name: 'subject', operator: 'Include', values: ['*'] }
      { name: 'detail', operator: 'Include', values: ['*'] }
    ]
  }
]

resource ruleAlerts 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = [
  for rule in rules: {
    name: '${name}-${rule.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: '${name}: ${rule.name}'
      description: rule.description
      severity: rule.severity
      enabled: true
      scopes: [workspaceId]
      evaluationFrequency: rule.name == 'expiring' ? 'PT6H' : 'PT5M'
      windowSize: rule.name == 'expiring' ? 'P1D' : 'PT15M' // a day has one night
      autoMitigate: true
      skipQueryValidation: true // a new workspace has no table of traces until the first one comes
      criteria: {
        allOf: [
          {
            query: rule.query
            metricMeasureColumn: rule.column
            timeAggregation: 'Maximum'
            operator: 'GreaterThan'
            threshold: rule.threshold
            dimensions: rule.dimensions
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      actions: { actionGroups: [people.id] }
    }
  }
]

resource throttling 'Microsoft.Insights/metricAlerts@2026-01-01' = {
  name: '${name}-vault-throttling'
  location: 'global'
  tags: tags
  properties: {
    description: 'Key Vault answered 429. Runbook: The vault throttles.'
    severity: 1
    enabled: true
    scopes: [vaultId]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'throttled'
          metricNamespace: 'Microsoft.KeyVault/vaults'
          metricName: 'ServiceApiResult'
          dimensions: [{ name: 'StatusCode', operator: 'Include', values: ['429'] }]
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
        }
      ]
    }
    actions: [{ actionGroupId: people.id }]
  }
}

// An app that does not start writes no audit line, so somebody has to ask it from outside.
resource probe 'Microsoft.Insights/webtests@2022-06-15' = if (healthProbe) {
  name: '${name}-health'
  location: location
  tags: union(tags, { 'hidden-link:${applicationInsights.id}': 'Resource' })
  kind: 'standard'
  properties: {
    Kind: 'standard'
    Name: '${name}-health'
    SyntheticMonitorId: '${name}-health'
    Enabled: true
    Frequency: 300
    Timeout: 30
    RetryEnabled: true
    Locations: [{ Id: 'us-va-ash-azr' }, { Id: 'emea-nl-ams-azr' }, { Id: 'apac-sg-sin-azr' }]
    Request: { RequestUrl: '${publicBaseUrl}/health', HttpVerb: 'GET', ParseDependentRequests: false }
    ValidationRules: { ExpectedHttpStatusCode: 200, SSLCheck: true, SSLCertRemainingLifetimeCheck: 14 }
  }
}

resource unhealthy 'Microsoft.Insights/metricAlerts@2026-01-01' = if (healthProbe) {
  name: '${name}-unhealthy'
  location: 'global'
  tags: tags
  properties: {
    description: 'Two places or more did not get a 200 from the gateway\'s health endpoint. Runbook: The gateway does not answer.'
    severity: 0
    enabled: true
    scopes: [probe.id, applicationInsights.id]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria'
      webTestId: probe.id
      componentId: applicationInsights.id
      failedLocationCount: 2
    }
    actions: [{ actionGroupId: people.id }]
  }
}
