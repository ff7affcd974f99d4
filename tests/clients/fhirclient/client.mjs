// fhirclient for JavaScript, with a token that it is given.
import FHIR from 'fhirclient';

import { asked, attempt, batch, newPatient, resources, step } from '../steps.mjs';

const state = { serverUrl: asked.FHIR_BASE, tokenResponse: { access_token: asked.TOKEN } };
const client = FHIR({ headers: {} }, {}, {}).client(state);

await step('statement', () => client.getFhirVersion());
await step('read', () => client.request('Patient/1001'));
await step('missing', () => client.request('Patient/nobody'));
await step('search', async () => [
  ...resources(await client.request('Patient?family=black&given=ruth')),
  ...resources(await client.request('Encounter?patient=Patient/1001&_include=Encounter:location&_count=10')),
  await client.request('Encounter?patient=Patient/1001&_count=2', { resolveReferences: ['subject'], flat: true }),
]);
await step('pages', async () => {
  const ids = [];
  for await (const resource of client.resources('Observation?_count=25')) ids.push(resource.id);
  return ids;
});
await step('history', async () => resources(await client.request('Patient/1001/_history')));
await step('write', async () => [
  await client.update(newPatient({ id: asked.OWN })),
  (await client.create(newPatient())).gender,
  await attempt(async () => (await client.delete(`Patient/${asked.OWN}`)).resourceType),
  await attempt(() => client.request(`Patient/${asked.OWN}`)),
]);
await step('batch', async () => {
  const headers = { 'Content-Type': 'application/fhir+json' };
  const answer = await client.request({ url: '/', method: 'POST', body: JSON.stringify(batch()), headers });
  return answer.entry.map((entry) => entry.response.status.slice(0, 3));
});
