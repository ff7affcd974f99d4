// Reads {"issuer", "discovery", "client_id", "client_secret", "scope", "method"} from stdin, discovers the server, gets a token
// with oauth4webapi, has oauth4webapi validate it as an access token (RFC 9068), and writes the answer and the claims.
import { text } from "node:stream/consumers";
import * as oauth from "oauth4webapi";

const asked = JSON.parse(await text(process.stdin));
const issuer = new URL(asked.issuer);
const discovered = await oauth.discoveryRequest(issuer, { algorithm: asked.discovery });
const server = await oauth.processDiscoveryResponse(issuer, discovered);
const client = { client_id: asked.client_id };
const authentication = oauth[asked.method](asked.client_secret);

const response = await oauth.clientCredentialsGrantRequest(server, client, authentication, { scope: asked.scope });
try {
  const answer = await oauth.processClientCredentialsResponse(server, client, response);
  const request = new Request("https://resource.example", {
    headers: { authorization: `Bearer ${answer.access_token}` },
  });
  const claims = await oauth.validateJwtAccessToken(server, request, asked.issuer);
  console.log(JSON.stringify({ answer, claims }));
} catch (error) {
  console.log(JSON.stringify({ error: error.code }));
}
