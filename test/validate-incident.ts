import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { ValidateFunction } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { Incident } from '../src/incident.ts';

let validator: ValidateFunction | undefined;

/** Fails unless it is an incident by the published JSON Schema and by what the schema cannot say. */
export function assertValidIncident(incident: unknown): asserts incident is Incident {
  validator ??= new Ajv2020({ allErrors: true }).compile(
    JSON.parse(readFileSync(new URL('../schema/incident-1.json', import.meta.url), 'utf8')),
  );
  const valid = validator(incident);
  assert.ok(valid, `not an incident: ${JSON.stringify(validator.errors?.slice(0, 3))}`);
  const { process, victims } = incident as Incident;
  assert.deepEqual(process, victims[0]?.process, 'process must equal victims[0].process');
}
