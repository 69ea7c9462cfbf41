// Asks for the key and becomes /docs. Nothing is stored: the key goes from this field to that of the page.
"use strict";
(() => {
  const form = document.getElementById("asking"), given = document.getElementById("given");
  const refused = document.getElementById("refused");

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button"), key = given.value.trim();
    button.disabled = true;
    try {
      const response = await fetch("docs", { headers: { "X-API-Key": key, Accept: "text/html" }, cache: "no-store" });
      if (!response.ok) {
        refused.textContent = response.status === 401 ? "This is not a key of the server." : await response.text();
        return;
      }
      const page = await response.text();
      document.open();
      document.write(page);
      document.close();
      const field = document.getElementById("key");
      field.value = key;
      field.dispatchEvent(new Event("input"));
    } catch (error) {
      refused.textContent = `The server cannot be reached, or the key has characters that no key has: ${error.message}`;
    } finally {
      button.disabled = false;
    }
  });
})();
