// MedplumClient (R4): gets its token by its own client login, reads, writes, searches and pages.
import { MedplumClient } from '@medplum/core';

import { asked, attempt, batch, newPatient, resources, step } from './steps.mjs';

const client = new MedplumClient({
  baseUrl: new URL('/', asked.FHIR_BASE).href,
  fhirUrlPath: new URL(asked.FHIR_BASE).pathname,
  cacheTime: 0,
  fetch,
});

if (asked.TOKEN_URL) await step('token', async () => {
  await client.startClientLogin(asked.CLIENT_ID, asked.CLIENT_SECRET);
  return Boolean(client.getAccessToken());
});
await step('statement', async () => (await client.get(client.fhirUrl('metadata'))).fhirVersion);
await step('read', () => client.readResource('Patient', '1001'));
await step('missing', () => client.readResource('Patient', 'nobody'));
await step('search', async () => [
  ...(await client.searchResources('Patient', { family: 'black', given: 'ruth' })),
  ...resources(await client.search('Encounter', 'patient=Patient/1001&_include=Encounter:location&_count=10')),
]);
await step('pages', async () => {
  const ids = [];
  for await (const page of client.searchResourcePages('Observation', { _count: 25 })) {
    ids.push(...page.map((resource) => resource.id));
    if (ids.length > 200) throw new Error('the pages do not end');
  }
  return ids;
});
await step('history', async () => resources(await client.readHistory('Patient', '1001')));
await step('write', async () => {
  const updated = await client.updateResource(newPatient({ id: asked.OWN }));
  const condition = `identifier=https://conformance.example/id|${asked.OWN}-once`;
  const once = newPatient({ identifier: [{ system: 'https://conformance.example/id', value: `${asked.OWN}-once` }] });
  const first = await client.createResourceIfNoneExist(once, condition);
  const second = await client.createResourceIfNoneExist(once, condition);
  await client.deleteResource('Patient', asked.OWN);
  return [updated, first.id === second.id, await attempt(() => client.readResource('Patient', asked.OWN))];
});
await step('batch', async () => (await client.executeBatch(batch())).entry.map((entry) => entry.response.status.slice(0, 3)));
