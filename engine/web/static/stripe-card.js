// Binds a form's card field to the gateway's script: what is typed goes into the gateway's own frame, and this page only
// ever holds the token that the gateway makes of it.
//
// data-make says which: a token or a payment_method of a card, or a confirmation_token of any means of payment.
"use strict";

(() => {
  function cardField(stripe, box) {
    const looks = getComputedStyle(box);
    const field = stripe.elements().create("card", {
      hidePostalCode: !("requireZip" in box.dataset),
      style: { base: { color: looks.color, iconColor: looks.color, fontSize: "16px" } },
    });
    const make = async () => {
      if (box.dataset.make === "payment_method") {
        const made = await stripe.createPaymentMethod({ type: "card", card: field });
        return [made.error, made.paymentMethod];
      }
      const made = await stripe.createToken(field);
      return [made.error, made.token];
    };
    return [field, make];
  }

  // The intent is made by the server when the form has come, so all that the field knows of it is what the page says.
  function paymentField(stripe, box, told) {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const elements = stripe.elements({ ...told.elements, appearance: { theme: dark ? "night" : "stripe" } });
    const make = async () => {
      const checked = await elements.submit();
      if (checked.error) return [checked.error];
      const made = await stripe.createConfirmationToken({ elements });
      return [made.error, made.confirmationToken];
    };
    return [elements.create("payment"), make];
  }

  function bind(box) {
    const form = box.closest("form");
    const button = form.querySelector("button[type=submit]");
    const token = box.querySelector("input[type=hidden]");
    const error = box.querySelector("[role=alert]");
    const say = (text) => {
      error.textContent = text;
    };
    if (!window.Stripe) {
      say(box.dataset.unavailable);
      return;
    }
    const told = JSON.parse(box.dataset.told ?? "{}");
    const stripe = window.Stripe(box.dataset.key, told.account ? { stripeAccount: told.account } : {});
    const [field, make] = told.elements ? paymentField(stripe, box, told) : cardField(stripe, box);
    const frame = box.querySelector("[data-callsheet-frame]");
    frame.textContent = "";
    field.mount(frame);
    field.on("change", (change) => {
      token.value = "";
      say(change.error ? change.error.message : "");
    });

    form.addEventListener("submit", async (event) => {
      if (button.disabled) {
        event.preventDefault();
        return;
      }
      button.disabled = true;
      button.setAttribute("aria-busy", "true");
      if (token.value) return;
      event.preventDefault();
      const [problem, made] = await make().catch(() => [{ message: box.dataset.unavailable }]);
      if (made) {
        token.value = made.id;
        form.submit();
        return;
      }
      say(problem.message);
      button.disabled = false;
      button.removeAttribute("aria-busy");
      field.focus();
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
