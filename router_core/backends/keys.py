"""Which environment variables a target's provider reads its key from, and where that key may go: names, never values.

A provider's usual key goes to that provider's own addresses and nowhere else. A target with another ``api_base`` gets
the key that its config names (``api_key_env``) or its caller passes (``api_key``), or none.
"""

import re
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
# where the usual key of a provider may go; also to any name below these
_HOSTS: Final[dict[str, tuple[str, ...]]] = {
    "openai": ("openai.com",),
    "text-completion-openai": ("openai.com",),
    "anthropic": ("anthropic.com",),
    "gemini": ("googleapis.com",),
    "vertex_ai": ("googleapis.com",),
    "azure": ("openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com"),
    "azure_ai": ("services.ai.azure.com", "models.ai.azure.com", "inference.ai.azure.com", "openai.azure.com"),
    "bedrock": ("amazonaws.com",),
    "cerebras": ("cerebras.ai",),
    "cohere": ("cohere.com", "cohere.ai"),
    "cohere_chat": ("cohere.com", "cohere.ai"),
    "databricks": ("databricks.com", "azuredatabricks.net"),
    "deepinfra": ("deepinfra.com",),
    "deepseek": ("deepseek.com",),
    "fireworks_ai": ("fireworks.ai",),
    "groq": ("groq.com",),
    "mistral": ("mistral.ai",),
    "moonshot": ("moonshot.ai", "moonshot.cn"),
    "nvidia_nim": ("nvidia.com",),
    "openrouter": ("openrouter.ai",),
    "perplexity": ("perplexity.ai",),
    "replicate": ("replicate.com",),
    "sambanova": ("sambanova.ai",),
    "together_ai": ("together.xyz", "together.ai"),
    "xai": ("x.ai",),
}
# servers of one's own: there is no other address that the key in their variable could be meant for
_OWN_SERVERS: Final = frozenset({"hosted_vllm", "litellm_proxy", "llamafile", "lm_studio", "ollama", "ollama_chat"})
# what they send is no key of a variable's, so that no other key can stand in its place
_WITHOUT_KEYS: Final = frozenset({"vertex_ai", "vertex_ai_beta"})
# no user, no blank, no backslash: what two readers of an address could take for two hosts is nobody's own
_ADDRESS: Final = re.compile(r"https://([a-z0-9.-]+)(?::\d+)?(?:[/?#][^\s\\@]*)?")
# local servers and the simulator ask for none
_KEYLESS: Final = frozenset({"simulated", "ollama", "ollama_chat", "hosted_vllm", "lm_studio", "llamafile"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """Whether the key of a target is there.

    Attributes:
        variables: Environment variables that may hold it; empty when it needs none, or when nobody knows which.
        present: Whether one of them is set and not empty; None when that cannot be told.
        is_withheld: Whether the provider's usual key is not sent, because the address is not the provider's own.
    """

    variables: tuple[str, ...]
    present: bool | None
    is_withheld: bool = False


def goes_to(model: str, api_base: str | None) -> bool:
    """Return whether the usual key of a target's provider may be sent to its address; None = the provider's own."""
    provider = model.partition("/")[0]
    if api_base is None or provider in _OWN_SERVERS:
        return True
    found = _ADDRESS.fullmatch(api_base.lower())
    hosts = _HOSTS.get(provider, ())
    return found is not None and any(found[1] == host or found[1].endswith(f".{host}") for host in hosts)


def can_go_without(model: str) -> bool:
    """Return whether requests to a target can be kept from carrying a credential of this machine."""
    return model.partition("/")[0] not in _WITHOUT_KEYS


def key_state(model: str, api_key_env: str | None, environ: Mapping[str, str], api_base: str | None = None) -> KeyState:
    """Return where the key of a target is looked for, and whether it is there.

    Args:
        model: ``provider/model``.
        api_key_env: The variable that the config names for this target, if it names one.
        environ: The environment; only whether a name has a value is looked at.
        api_base: The address that the config names for it, if it names one.
    """
    provider = model.partition("/")[0]
    if api_key_env is not None:
        variables: tuple[str, ...] = (api_key_env,)
    elif not goes_to(model, api_base):
        return KeyState(variables=(), present=True, is_withheld=True)
    elif provider in _KEYLESS:
        return KeyState(variables=(), present=True)
    else:
        variables = _KEYS.get(provider, ())
    present = any(environ.get(name) for name in variables) if variables else None
    return KeyState(variables=variables, present=present)
