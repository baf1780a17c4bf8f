/** Real kills on a node of cgroup v1, with the agent that `kubectl apply -k k8s/` installs. */
import { describe } from 'node:test';
import { runningCluster } from '../cluster-test.ts';
import { countedKills } from './counted-kills.ts';
import { nodeA } from './kill-node.ts';
import {
  childAlone,
  deletedPod,
  firstProcess,
  guaranteedPod,
  initContainer,
  killScenarios,
  staticPod,
} from './kill-scenarios.ts';

const cluster = runningCluster();

describe('kills on a node of cgroup v1', () =>
  killScenarios(cluster, nodeA(cluster), [
    firstProcess,
    childAlone,
    guaranteedPod,
    initContainer,
    staticPod,
    deletedPod,
    countedKills,
  ]));
