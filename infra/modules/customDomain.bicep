// The gateway's own host name, which has been added to the app before, and a certificate that Azure renews.

param siteName string
param location string
param hostName string

resource site 'Microsoft.Web/sites@2025-03-01' existing = {
  name: siteName
}

resource certificate 'Microsoft.Web/sites/certificates@2025-03-01' = {
  parent: site
  name: replace(hostName, '.', '-')
  location: location
  properties: { canonicalName: hostName }
}

resource binding 'Microsoft.Web/sites/hostNameBindings@2025-03-01' = {
  parent: site
  name: hostName
  properties: {
    hostNameType: 'Verified'
    customHostNameDnsRecordType: 'CName'
    sslState: 'SniEnabled'
    thumbprint: certificate.properties.thumbprint
  }
}
