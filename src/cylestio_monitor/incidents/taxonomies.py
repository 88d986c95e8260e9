"""Names and addresses of the OWASP and MITRE ATLAS entries that the rules refer to, and the runbook of a category."""

from __future__ import annotations

from typing import Final, NamedTuple

ATLAS: Final = {
    "AML.T0034": "Cost Harvesting",
    "AML.T0034.002": "Cost Harvesting: Agentic Resource Consumption",
    "AML.T0050": "Command and Scripting Interpreter",
    "AML.T0051": "LLM Prompt Injection",
    "AML.T0051.000": "LLM Prompt Injection: Direct",
    "AML.T0051.001": "LLM Prompt Injection: Indirect",
    "AML.T0053": "AI Agent Tool Invocation",
    "AML.T0054": "LLM Jailbreak",
    "AML.T0055": "Unsecured Credentials",
    "AML.T0056": "Extract LLM System Prompt",
    "AML.T0057": "LLM Data Leakage",
    "AML.T0068": "LLM Prompt Obfuscation",
    "AML.T0086": "Exfiltration via AI Agent Tool Invocation",
    "AML.T0098": "AI Agent Tool Credential Harvesting",
    "AML.T0101": "Data Destruction via AI Agent Tool Invocation",
    "AML.T0102": "Generate Malicious Commands",
    "AML.T0110": "AI Agent Tool Poisoning",
}
OWASP: Final = {
    "LLM01:2025": "Prompt Injection",
    "LLM02:2025": "Sensitive Information Disclosure",
    "LLM03:2025": "Supply Chain",
    "LLM04:2025": "Data and Model Poisoning",
    "LLM05:2025": "Improper Output Handling",
    "LLM06:2025": "Excessive Agency",
    "LLM07:2025": "System Prompt Leakage",
    "LLM08:2025": "Vector and Embedding Weaknesses",
    "LLM09:2025": "Misinformation",
    "LLM10:2025": "Unbounded Consumption",
    "ASI01": "Agent Goal Hijack",
    "ASI02": "Tool Misuse and Exploitation",
    "ASI03": "Identity and Privilege Abuse",
    "ASI04": "Agentic Supply Chain",
    "ASI05": "Unexpected Code Execution",
    "ASI06": "Memory & Context Poisoning",
    "ASI07": "Insecure Inter-Agent Communication",
    "ASI08": "Cascading Failures",
    "ASI09": "Human-Agent Trust Exploitation",
    "ASI10": "Rogue Agents",
}

_RUNBOOKS: Final = "https://github.com/cylestio/cylestio-monitor/blob/main/docs/how-to/handle-an-incident.md"
_SECTIONS: Final = {
    "prompt_injection": "instructions-from-outside",
    "jailbreak": "instructions-from-outside",
    "tool_poisoning": "poisoned-tools",
    "system_prompt_leakage": "data-that-left",
    "sensitive_data": "data-that-left",
    "secret": "secrets",
    "exfiltration": "data-that-left",
    "destructive_command": "actions-of-an-agent",
    "code_execution": "actions-of-an-agent",
    "excessive_agency": "actions-of-an-agent",
    "resource_abuse": "agents-that-do-not-stop",
    "authentication": "accounts",
}


class TaxonomyEntry(NamedTuple):
    """One entry of a taxonomy.

    Attributes:
        id: Such as ``AML.T0051``.
        name: Its name; the id where it is not known.
        url: Its page.
    """

    id: str
    name: str
    url: str


def atlas(technique: str) -> TaxonomyEntry:
    """Returns a technique of MITRE ATLAS."""
    return TaxonomyEntry(technique, ATLAS.get(technique, technique), f"https://atlas.mitre.org/techniques/{technique}")


def owasp(entry: str) -> TaxonomyEntry:
    """Returns an entry of the OWASP lists for language models and for agents."""
    page = "llm-top-10/" if entry.startswith("LLM") else "resource/owasp-top-10-for-agentic-applications-for-2026/"
    return TaxonomyEntry(entry, OWASP.get(entry, entry), f"https://genai.owasp.org/{page}")


def runbook(category: str) -> str:
    """Returns the address of the section of the runbook for a category of findings."""
    return f"{_RUNBOOKS}#{_SECTIONS.get(category, 'any-finding')}"
