// A partner with a few hospitals: sleeps when nobody calls, and costs little at rest.
using 'main.bicep'

param portalClientId = readEnvironmentVariable('PORTAL_CLIENT_ID')
param adminGroupId = readEnvironmentVariable('ADMIN_GROUP_ID', '')
param alertEmail = readEnvironmentVariable('ALERT_EMAIL', '')

param privateNetwork = false
param directoryRedundancy = 'Standard_LRS'
param maximumInstances = 10
param healthProbe = false
