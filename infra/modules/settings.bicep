// The environment of an app's code. It is apart from the app, whose own host name stands in it.

param siteName string
param hostSettings { *: string }
param applicationInsightsName string
param settings { *: string }

resource site 'Microsoft.Web/sites@2025-03-01' existing = {
  name: siteName
}

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

resource environmentSettings 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: site
  name: 'appsettings'
  properties: union(hostSettings, settings, {
    APPLICATIONINSIGHTS_CONNECTION_STRING: applicationInsights.properties.ConnectionString
    AzureWebJobsDisableHomepage: 'true'
  })
}
