import * as v from 'valibot';
import { goAddress, type ListenAddress } from '../config/listen-address.ts';
import type { ReplacedProgram } from './program.ts';

/** What Go's strconv.ParseBool takes. */
const goBoolean = v.pipe(
  v.string(),
  v.regex(/^(1|0|t|f|true|false)$/i, 'must be true or false'),
  v.transform((text) => /^[1t]/i.test(text)),
);

/** https://github.com/draganm/missing-container-metrics */
export const missingContainerMetrics: ReplacedProgram = {
  name: 'missing-container-metrics',
  options: [
    {
      name: 'bind-address',
      value: '[HOST]:PORT',
      help: 'where /metrics answers with these metrics alone',
      schema: goAddress,
      default: ':3001',
    },
    {
      name: 'docker',
      value: '[true|false]',
      help: 'whether --docker-socket is auto',
      schema: goBoolean,
      default: 'true',
      alone: 'true',
    },
    {
      name: 'containerd',
      value: '[true|false]',
      help: 'whether --containerd-socket is auto',
      schema: goBoolean,
      default: 'true',
      alone: 'true',
    },
  ],
  environment: [
    { variable: 'BIND_ADDRESS', option: 'bind-address' },
    { variable: 'DOCKER', option: 'docker' },
    { variable: 'CONTAINERD', option: 'containerd' },
    { variable: 'DOCKER_HOST', option: 'docker-socket', meaning: socketOf },
  ],
  settings: (values) => ({
    listen: values['bind-address'] as ListenAddress,
    listenOption: 'bind-address',
    implied: {
      'docker-socket': values.docker === true ? 'auto' : 'off',
      'containerd-socket': values.containerd === true ? 'auto' : 'off',
    },
  }),
  path: '/metrics',
  family: () => import('../metrics/missing-container-metrics.ts'),
};

function socketOf(host: string): string {
  const path = /^unix:\/\/(\/.+)$/.exec(host)?.[1];
  if (path === undefined)
    throw new Error(
      'must be unix:///PATH. Docker is followed through its unix socket only: see --docker-socket.',
    );
  return path;
}
