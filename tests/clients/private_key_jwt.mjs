// Reads {"library", "issuer", "discovery", "client_id", "jwk", "resource"} from stdin, discovers the server, and with its key alone gets a
// token, asks about it, ends it, and asks again. Writes what it found.
import { text } from "node:stream/consumers";
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";

const asked = JSON.parse(await text(process.stdin));
const issuer = new URL(asked.issuer);
const curve = { name: "ECDSA", namedCurve: asked.jwk.crv };
const key = { key: await crypto.subtle.importKey("jwk", asked.jwk, curve, false, ["sign"]), kid: asked.jwk.kid };
const wanted = { scope: "system/*.rs", resource: asked.resource };

async function byOpenidClient() {
  const method = openid.PrivateKeyJwt(key);
  const config = await openid.discovery(issuer, asked.client_id, undefined, method, { algorithm: asked.discovery });
  const token = await openid.clientCredentialsGrant(config, wanted);
  const before = await openid.tokenIntrospection(config, token.access_token);
  await openid.tokenRevocation(config, token.access_token);
  return { token, before, after: await openid.tokenIntrospection(config, token.access_token) };
}

async function byOauth4webapi() {
  const discovered = await oauth.discoveryRequest(issuer, { algorithm: asked.discovery });
  const server = await oauth.processDiscoveryResponse(issuer, discovered);
  const client = [server, { client_id: asked.client_id }];
  const method = oauth.PrivateKeyJwt(key);
  const granted = await oauth.clientCredentialsGrantRequest(...client, method, wanted);
  const token = await oauth.processClientCredentialsResponse(...client, granted);
  const about = async () =>
    oauth.processIntrospectionResponse(...client, await oauth.introspectionRequest(...client, method, token.access_token));
  const before = await about();
  await oauth.processRevocationResponse(await oauth.revocationRequest(...client, method, token.access_token));
  return { token, before, after: await about() };
}

const found = await { "openid-client": byOpenidClient, oauth4webapi: byOauth4webapi }[asked.library]();
console.log(JSON.stringify(found));
