// fhir-kit-client: finds the token URL by itself, gets a token there with oauth4webapi, reads, writes, searches, pages.
import { Client } from 'fhir-kit-client';
import * as oauth from 'oauth4webapi';

import { asked, attempt, batch, newPatient, resources, step } from './steps.mjs';

const client = new Client({ baseUrl: asked.FHIR_BASE });

await step('statement', async () => (await client.capabilityStatement()).fhirVersion);
if (asked.TOKEN_URL) await step('token', async () => {
  const { tokenUrl } = await client.smartAuthMetadata();
  const server = { issuer: tokenUrl.origin, token_endpoint: tokenUrl.href };
  const account = { client_id: asked.CLIENT_ID };
  const granted = await oauth.clientCredentialsGrantRequest(
    server,
    account,
    oauth.ClientSecretBasic(asked.CLIENT_SECRET),
    { scope: asked.TENANT },
    { [oauth.allowInsecureRequests]: true },
  );
  const answer = await oauth.processClientCredentialsResponse(server, account, granted);
  client.bearerToken = answer.access_token;
  return answer.token_type;
});
await step('read', () => client.read({ resourceType: 'Patient', id: '1001' }));
await step('missing', () => client.read({ resourceType: 'Patient', id: 'nobody' }));
await step('search', async () => {
  const family = await client.search({ resourceType: 'Patient', searchParams: { family: 'black', given: 'ruth' } });
  const searchParams = { patient: 'Patient/1001', _include: 'Encounter:location', _count: 10 };
  return [family, await client.search({ resourceType: 'Encounter', searchParams })].flatMap(resources);
});
await step('post', async () => {
  const options = { postSearch: true };
  const searchParams = { family: 'black', given: 'ruth' };
  return resources(await client.search({ resourceType: 'Patient', searchParams, options }));
});
await step('pages', async () => {
  const ids = [];
  let page = await client.search({ resourceType: 'Observation', searchParams: { _count: 25 } });
  while (page) {
    ids.push(...resources(page).map((resource) => resource.id));
    page = await client.nextPage({ bundle: page });
  }
  return ids;
});
await step('history', async () => [
  await attempt(() => client.vread({ resourceType: 'Patient', id: '1001', version: '1' })),
  resources(await client.history({ resourceType: 'Patient', id: '1001' })),
]);
await step('write', async () => {
  const at = { resourceType: 'Patient', id: asked.OWN };
  const body = newPatient({ id: asked.OWN });
  const updated = await client.update({ ...at, body });
  const options = { headers: { 'If-Match': 'W/"77"' } };
  return [
    updated,
    await attempt(() => client.update({ ...at, body, options })),
    (await client.create({ resourceType: 'Patient', body: newPatient() })).gender,
    await attempt(async () => (await client.delete(at)).resourceType),
    await attempt(() => client.read(at)),
  ];
});
await step('batch', async () =>
  (await client.batch({ body: batch() })).entry.map((entry) => entry.response.status.slice(0, 3)),
);
