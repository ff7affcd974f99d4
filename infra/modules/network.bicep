// The virtual network: a subnet for each app, one for private endpoints, their names, and one address outward.

@export()
@description('The IPv4 ranges of the virtual network and of its subnets: those of Functions apps take a /27 at least.')
type addressPlan = {
  network: string
  gateway: string
  portal: string
  endpoints: string
}

param name string
param location string
param tags { *: string }
param addresses addressPlan
param zoneRedundant bool

// A Standard NAT gateway stands in one zone, a StandardV2 one in all of the region's. Neither turns into the other, nor do
// their addresses: each has a name of its own.
var natSku = zoneRedundant ? 'StandardV2' : 'Standard'
var natSuffix = zoneRedundant ? '-zones' : ''

resource address 'Microsoft.Network/publicIPAddresses@2025-05-01' = {
  name: '${name}-outbound${natSuffix}'
  location: location
  tags: tags
  sku: { name: natSku }
  properties: { publicIPAllocationMethod: 'Static' }
}

resource nat 'Microsoft.Network/natGateways@2025-05-01' = {
  name: '${name}-nat${natSuffix}'
  location: location
  tags: tags
  sku: { name: natSku }
  properties: {
    idleTimeoutInMinutes: 4
    publicIpAddresses: [{ id: address.id }]
  }
}

// Nothing has to come in but what the apps ask of the endpoints, and the platform's own traffic.
resource endpointRules 'Microsoft.Network/networkSecurityGroups@2025-05-01' = {
  name: '${name}-endpoints'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'https-from-the-network'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'VirtualNetwork'
          sourcePortRange: '*'
          destinationAddressPrefix: 'VirtualNetwork'
          destinationPortRange: '443'
        }
      }
      {
        name: 'nothing-else'
        properties: {
          priority: 4096
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2025-05-01' = {
  name: '${name}-network'
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: [addresses.network] }
    subnets: [
      {
        name: 'gateway'
        properties: {
          addressPrefix: addresses.gateway
          natGateway: { id: nat.id }
          delegations: [{ name: 'functions', properties: { serviceName: 'Microsoft.App/environments' } }]
        }
      }
      {
        name: 'portal'
        properties: {
          addressPrefix: addresses.portal
          natGateway: { id: nat.id }
          delegations: [{ name: 'functions', properties: { serviceName: 'Microsoft.App/environments' } }]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: addresses.endpoints
          networkSecurityGroup: { id: endpointRules.id }
          privateEndpointNetworkPolicies: 'NetworkSecurityGroupEnabled'
        }
      }
    ]
  }
}

var zoneNames = [
  'privatelink.vaultcore.azure.net'
  'privatelink.table.${environment().suffixes.storage}'
  'privatelink.blob.${environment().suffixes.storage}'
]

resource dnsZones 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for zone in zoneNames: {
    name: zone
    location: 'global'
    tags: tags
  }
]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (zone, index) in zoneNames: {
    parent: dnsZones[index]
    name: '${name}-network'
    location: 'global'
    tags: tags
    properties: {
      registrationEnabled: false
      virtualNetwork: { id: network.id }
    }
  }
]

output gatewaySubnetId string = '${network.id}/subnets/gateway'
output portalSubnetId string = '${network.id}/subnets/portal'
output endpointSubnetId string = '${network.id}/subnets/endpoints'
output vaultZoneId string = dnsZones[0].id
output tableZoneId string = dnsZones[1].id
output blobZoneId string = dnsZones[2].id
output outboundAddress string = address.properties.ipAddress
