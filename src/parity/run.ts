import { forward } from '../model/forward.js';
import { causalLoss, logits } from '../model/head.js';
import type { Model } from '../model/model.js';
import { textTap } from '../model/tap-places.js';
import { Taps } from '../model/taps.js';
import type { PackedTokens } from '../model/tokens.js';
import type { Steps } from '../runtime/steps.js';
import type { HostTensor, Tensor } from '../runtime/tensor.js';
import type { Golden } from './golden.js';

/** Gets every tensor that the runtime produces under its golden's name, in forward order. */
type Emit = (name: string, value: HostTensor<Float32Array>) => void;

/**
 * One forward pass on the golden's inputs with every tap and observer, through the production kernels. `take` is
 * called for each tensor in forward order; the computation waits for it, so few are held at a time.
 * @returns the logits
 */
export async function runTapped(
  model: Model,
  golden: Golden,
  take: (name: string, value: HostTensor<Float32Array>) => Promise<void>,
): Promise<HostTensor<Float32Array>> {
  const queue: [string, HostTensor<Float32Array>][] = [];
  const drain = async () => {
    for (const [name, value] of queue.splice(0)) await take(name, value);
  };
  return model.ops.engine.run(function* () {
    const steps = tapped(model, golden, (name, value) => queue.push([name, value]));
    try {
      for (;;) {
        const { done, value } = steps.next();
        if (queue.length > 0) yield drain();
        if (done) return value;
        yield value;
      }
    } finally {
      steps.return(undefined as never);
    }
  });
}

/** The same pass as a user runs it, without taps: the logits. */
export function runPlain(model: Model, golden: Golden): Promise<HostTensor<Float32Array>> {
  const { forward: inputs, logits_to_keep } = golden.inputs;
  return model.ops.engine.run(function* () {
    const { hidden, tokens, past_key_values } = yield* forward(model, inputs, {
      position_dtype: golden.dtype,
    });
    past_key_values.dispose();
    return yield* logits(model, hidden, tokens, logits_to_keep);
  });
}

function* tapped(model: Model, golden: Golden, emit: Emit): Steps<HostTensor<Float32Array>> {
  const { engine } = model.ops;
  const { forward: inputs, labels, logits_to_keep } = golden.inputs;
  let statesSeen = false;
  const taps = new Taps(engine, (path, value) => {
    emit(`modules.${path}`, value);
    if (path !== 'model.connector') return;
    statesSeen = true;
    emit('outputs.image_hidden_states', value);
  });
  const outputs = new Taps(engine, emit);
  const observers = {
    hidden: (index: number, states: Tensor, tokens: PackedTokens) =>
      textTap(outputs, tokens)(`outputs.hidden_states.${index}`, states),
    attentions: (index: number, value: HostTensor<Float32Array>) =>
      emit(`outputs.attentions.${index}`, value),
  };
  const result = yield* forward(model, inputs, { position_dtype: golden.dtype, taps, observers });
  result.past_key_values.dispose();
  if (result.images && !statesSeen) {
    const { states, seqLen } = result.images;
    const dims = [states.rows / seqLen, seqLen, states.columns];
    emit('outputs.image_hidden_states', { dims, data: engine.download(states) });
  }
  const scores = yield* logits(model, result.hidden, result.tokens, logits_to_keep);
  emit('modules.lm_head', scores);
  emit('outputs.logits', scores);
  if (labels) {
    const loss = yield* causalLoss(model, scores, labels);
    emit('outputs.loss', { dims: [1], data: Float32Array.of(loss) });
  }
  return scores;
}
