// A partner with hundreds of hospitals: always awake, across zones, off the internet but for its own front door.
using 'main.bicep'

param portalClientId = readEnvironmentVariable('PORTAL_CLIENT_ID')
param adminGroupId = readEnvironmentVariable('ADMIN_GROUP_ID', '')
param alertEmail = readEnvironmentVariable('ALERT_EMAIL', '')
param customDomain = readEnvironmentVariable('CUSTOM_DOMAIN', '')

param zoneRedundant = true
param directoryRedundancy = 'Standard_GZRS'
param alwaysReadyInstances = 4
param maximumInstances = 200
param logRetentionDays = 365
