"""Which environment variables a target's provider reads its key from: names only, never values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# as litellm reads them; each tuple lists alternatives, the usual one first
_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "openai": ("OPENAI_API_KEY",),
    "text-completion-openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "azure": ("AZURE_API_KEY", "AZURE_AD_TOKEN"),
    "azure_ai": ("AZURE_AI_API_KEY", "AZURE_API_KEY"),
    "bedrock": (
        "AWS_ACCESS_KEY_ID",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_PROFILE",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ),
    "cerebras": ("CEREBRAS_API_KEY",),
    "cohere": ("COHERE_API_KEY",),
    "cohere_chat": ("COHERE_API_KEY",),
    "databricks": ("DATABRICKS_API_KEY",),
    "deepinfra": ("DEEPINFRA_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "fireworks_ai": ("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY", "FIREWORKSAI_API_KEY"),
    "groq": ("GROQ_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "moonshot": ("MOONSHOT_API_KEY",),
    "nvidia_nim": ("NVIDIA_NIM_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "perplexity": ("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
    "replicate": ("REPLICATE_API_KEY",),
    "sambanova": ("SAMBANOVA_API_KEY",),
    "together_ai": ("TOGETHERAI_API_KEY", "TOGETHER_AI_API_KEY", "TOGETHER_API_KEY"),
    "xai": ("XAI_API_KEY",),
}
# local servers and the simulator ask for none
_KEYLESS: Final = frozenset({"simulated", "ollama", "ollama_chat", "hosted_vllm", "lm_studio", "llamafile"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """Whether the key of a target is there.

    Attributes:
        variables: Environment variables that may hold it; empty when it needs none, or when nobody knows which.
        present: Whether one of them is set and not empty; None when that cannot be told.
    """

    variables: tuple[str, ...]
    present: bool | None


def key_state(model: str, api_key_env: str | None, environ: Mapping[str, str]) -> KeyState:
    """Return where the key of a target is looked for, and whether it is there.

    Args:
        model: ``provider/model``.
        api_key_env: The variable that the config names for this target, if it names one.
        environ: The environment; only whether a name has a value is looked at.
    """
    provider = model.partition("/")[0]
    if api_key_env is not None:
        variables: tuple[str, ...] = (api_key_env,)
    elif provider in _KEYLESS:
        return KeyState(variables=(), present=True)
    else:
        variables = _KEYS.get(provider, ())
    present = any(environ.get(name) for name in variables) if variables else None
    return KeyState(variables=variables, present=present)
