// Reads {"base_url", "client_id", "client_secret", "tenant", "batch"} from stdin, finds the token URL with
// fhir-kit-client, gets a token there with oauth4webapi, and writes what fhir-kit-client reads with it.
import { json } from 'node:stream/consumers';

import { Client } from 'fhir-kit-client';
import * as oauth from 'oauth4webapi';

const asked = await json(process.stdin);
const client = new Client({ baseUrl: asked.base_url });

const statement = await client.capabilityStatement();
const { tokenUrl } = await client.smartAuthMetadata();
const server = { issuer: tokenUrl.origin, token_endpoint: tokenUrl.href };
const account = { client_id: asked.client_id };
const granted = await oauth.clientCredentialsGrantRequest(
  server,
  account,
  oauth.ClientSecretBasic(asked.client_secret),
  { scope: asked.tenant },
  { [oauth.allowInsecureRequests]: true },
);
client.bearerToken = (await oauth.processClientCredentialsResponse(server, account, granted)).access_token;

const ids = [];
let page = await client.search({ resourceType: 'Observation', searchParams: { _count: 25 } });
while (page) {
  ids.push(...page.entry.map((entry) => entry.resource.id));
  page = await client.nextPage({ bundle: page });
}
const patient = await client.read({ resourceType: 'Patient', id: '1001' });
const batch = await client.batch({ body: asked.batch });
const missing = await client.read({ resourceType: 'Patient', id: 'nobody' }).catch((error) => error.response);

console.log(
  JSON.stringify({
    fhirVersion: statement.fhirVersion,
    ids,
    patient: patient.id,
    batch: batch.entry.map((entry) => entry.response.status.slice(0, 3)),
    missing: { status: missing.status, body: missing.data.resourceType },
  }),
);
