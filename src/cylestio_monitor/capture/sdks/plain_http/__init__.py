"""Model calls that are made with a plain HTTP client: httpx, httpx2, requests, urllib3 and aiohttp."""
