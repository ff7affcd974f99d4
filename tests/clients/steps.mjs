// A client program's steps: each prints {"step", "found"}, or {"step", "error"} with the error's name and status.
export const asked = process.env;

export async function step(name, take) {
  let result;
  try {
    result = { step: name, found: await take() };
  } catch (error) {
    result = { step: name, error: described(error) };
  }
  console.log(JSON.stringify(result));
}

// What a program knows of an error: the client's own kind of error, the status and the resource that came with it.
export function described(error) {
  const resource = error.response?.data ?? error.outcome;
  const status = error.response?.status ?? error.status;
  return [error.name, status, resource?.resourceType].filter(Boolean).join(' ') + (status || resource ? '' : `: ${error.message}`);
}

// Runs a step within another one, and gives what it found or the error.
export async function attempt(take) {
  return take().catch(described);
}

export const resources = (bundle) => (bundle.entry ?? []).map((entry) => entry.resource);

export const newPatient = (elements = {}) => ({
  resourceType: 'Patient',
  identifier: [{ system: 'https://conformance.example/id', value: asked.OWN }],
  gender: 'female',
  ...elements,
});

export const batch = () => ({
  resourceType: 'Bundle',
  type: 'batch',
  entry: ['Patient/1001', 'Encounter?patient=Patient/1001&_count=2', 'Patient/nobody'].map((url) => ({
    request: { method: 'GET', url },
  })),
});
