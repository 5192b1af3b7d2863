"""Byte-level BPE, pre-tokenised like SmolLM2 (each digit by itself), which llama.cpp knows as pre-tokenizer "smollm"."""
import os, random
os.environ['TOKENIZERS_PARALLELISM'] = 'false'
from tokenizers import Tokenizer, models, pre_tokenizers, decoders, trainers
import corpus

SPECIAL = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|tool_call|>', '<|tool_end|>', '<|reserved_0|>', '<|reserved_1|>', '<|reserved_2|>']
EOT, BOS, EOS = 0, 1, 2
VOCAB = 1536

def pre(tk):
    tk.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tk.decoder = decoders.ByteLevel()

def train(seed=1):
    r = random.Random(seed); text = []
    for _ in range(12000):
        _, s, q, a = corpus.chat(r, noisy=0); text += [q, a] + ([s] if s else [])
        text.append(corpus.plain(r))
    # every word of the lexicon must be able to stand in a question as one token, or nearly
    text += [' ' + w for w in corpus.LEXICON + corpus.PEOPLE for _ in range(120)]
    text += [' ' + w for w in corpus.COUNTRIES + corpus.CAPITALS + corpus.RULERS + corpus.NEW_COUNTRIES + corpus.NEW_CAPITALS for _ in range(60)]
    text += ['system\nuser\nassistant\n' + corpus.SYSTEM] * 3000
    tk = Tokenizer(models.BPE()); pre(tk)
    tk.train_from_iterator(text, trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=SPECIAL, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False))
    return tk

def from_lists(tokens, merges):
    tk = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=[tuple(m.split(' ')) for m in merges])); pre(tk)
    tk.add_special_tokens(SPECIAL)
    return tk

def lists(tk):
    import json
    j = json.loads(tk.to_str())['model']
    toks = [t for t, _ in sorted(tk.get_vocab().items(), key=lambda x: x[1])]
    return toks, [' '.join(m) if isinstance(m, list) else m for m in j['merges']]

def turn(user, answer=''):
    return f'<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n{answer}'
def prompt(user, system=None):
    return f'<|im_start|>system\n{system or corpus.SYSTEM}<|im_end|>\n' + turn(user)
