// The environment of an app's code. It is apart from the app, whose own host name stands in it.

param siteName string
param hostSettings object
param applicationInsightsName string
param settings object

resource site 'Microsoft.Web/sites@2024-11-01' existing = {
  name: siteName
}

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

resource environmentSettings 'Microsoft.Web/sites/config@2024-11-01' = {
  parent: site
  name: 'appsettings'
  properties: union(
    hostSettings,
    settings,
    {
      APPLICATIONINSIGHTS_CONNECTION_STRING: applicationInsights.properties.ConnectionString
      AzureWebJobsDisableHomepage: 'true'
    }
  )
}
