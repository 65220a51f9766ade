// Posts what a form would post, as JSON, and says what came of it; then shows the page's list as it is now. A token is good
// for one payment, so another try takes the one that comes with a refusal, or that of the new list.
"use strict";

(() => {
  const said = document.getElementById("said");

  async function post(button) {
    button.disabled = true;
    const answer = await fetch(button.dataset.to, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token: button.dataset.post }),
    });
    const { message, state } = await answer.json();
    said.textContent = message;
    said.className = state === "succeeded" ? "said success" : "said error";
    said.hidden = false;
    for (const before of document.querySelectorAll("p.said:not(#said)")) before.remove();
    const page = await (await fetch(location.href)).text();
    const now = new DOMParser().parseFromString(page, "text/html").getElementById("ledger");
    document.getElementById("ledger").replaceWith(now);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-post]");
    if (button) post(button);
  });
})();
