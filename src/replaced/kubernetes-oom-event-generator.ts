import * as v from 'valibot';
import { goAddress, type ListenAddress } from '../config/listen-address.ts';
import type { ReplacedProgram } from './program.ts';

/** Also `-v=2`, of which the command line leaves the sign. */
const level = v.pipe(
  v.string(),
  v.regex(/^=?\d{1,3}$/, 'must be a whole number, as in glog'),
  v.transform((text) => Number(text.replace('=', ''))),
);

/** https://github.com/xing/kubernetes-oom-event-generator */
export const kubernetesOomEventGenerator: ReplacedProgram = {
  name: 'kubernetes-oom-event-generator',
  options: [
    {
      name: 'verbose',
      value: 'N',
      help: '1 and more: --log-level is debug',
      schema: level,
      default: '0',
      aliases: ['v'],
    },
    {
      name: 'oom-event-generator-address',
      value: '[HOST]:PORT',
      help: 'where /metrics answers with this metric alone',
      schema: goAddress,
      default: ':10254',
    },
  ],
  environment: [{ variable: 'VERBOSE', option: 'verbose' }],
  settings: (values) => ({
    listen: values['oom-event-generator-address'] as ListenAddress,
    listenOption: 'oom-event-generator-address',
    implied: {
      kubernetes: 'on',
      ...((values.verbose as number) >= 1 && { 'log-level': 'debug' }),
    },
  }),
  tellsRestarts: true,
  path: '/metrics',
  family: () => import('../metrics/kubernetes-oom-event-generator.ts'),
};
