// Binds a form's card field to the gateway's script: the number is typed into the gateway's own frame, and this page
// only ever holds the token that the gateway makes of it.
"use strict";

(() => {
  const unavailable = "The card field could not be loaded. Please reload the page.";

  function bind(box) {
    const form = box.closest("form");
    const button = form.querySelector("button[type=submit]");
    const token = box.querySelector("input[type=hidden]");
    const error = box.querySelector("[role=alert]");
    const say = (text) => {
      error.textContent = text;
    };
    if (!window.Stripe) {
      say(unavailable);
      return;
    }
    const stripe = window.Stripe(box.dataset.key);
    const looks = getComputedStyle(box);
    const card = stripe.elements().create("card", {
      hidePostalCode: !("requireZip" in box.dataset),
      style: { base: { color: looks.color, iconColor: looks.color, fontSize: "16px" } },
    });
    card.mount(box.querySelector("[data-callsheet-frame]"));
    card.on("change", (change) => {
      token.value = "";
      say(change.error ? change.error.message : "");
    });

    const make = async () => {
      if (box.dataset.make === "payment_method") {
        const made = await stripe.createPaymentMethod({ type: "card", card });
        return [made.error, made.paymentMethod];
      }
      const made = await stripe.createToken(card);
      return [made.error, made.token];
    };

    form.addEventListener("submit", async (event) => {
      if (button.disabled) {
        event.preventDefault();
        return;
      }
      button.disabled = true;
      button.setAttribute("aria-busy", "true");
      if (token.value) return;
      event.preventDefault();
      const [problem, made] = await make().catch(() => [{ message: unavailable }]);
      if (made) {
        token.value = made.id;
        form.submit();
        return;
      }
      say(problem.message);
      button.disabled = false;
      button.removeAttribute("aria-busy");
      card.focus();
    });

    // A page that comes back from the browser's memory has a used token and a dead button.
    window.addEventListener("pageshow", (event) => {
      if (!event.persisted) return;
      token.value = "";
      button.disabled = false;
      button.removeAttribute("aria-busy");
    });
  }

  // Several forms on a page bring this script several times.
  for (const box of document.querySelectorAll("[data-callsheet-card]:not([data-bound])")) {
    box.dataset.bound = "";
    bind(box);
  }
})();
