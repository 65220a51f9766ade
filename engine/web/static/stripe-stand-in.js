// Stands in for Stripe.js where a sandbox stands in for Stripe: in the place of a card field there are the test cards,
// and the token of a card is the one that the sandbox knows it by. Nothing is loaded from elsewhere, nothing leaves.
"use strict";

(() => {
  const GROUPS = [
    ["Goes through", (card) => !card.declined && !card.asks && !card.scenario],
    ["Is refused, or asks for consent", (card) => card.declined || card.asks],
    ["Something goes wrong on the way", (card) => card.scenario],
  ];
  let fields = 0;

  const element = (name, attributes, ...children) => {
    const made = Object.assign(document.createElement(name), attributes);
    made.append(...children);
    return made;
  };

  class Field {
    constructor() {
      this.name = `callsheet-test-card-${(fields += 1)}`;
      this.listeners = [];
    }

    mount(frame) {
      this.frame = frame;
      this.ready = this.fill(frame);
    }

    async fill(frame) {
      const { testCards, pattern, unavailable } = frame.closest("[data-test-cards]").dataset;
      const answer = await fetch(testCards);
      if (!answer.ok) {
        frame.append(unavailable);
        return;
      }
      const cards = (await answer.json()).filter((card) => new RegExp(pattern).test(card.token));
      for (const [title, belongs] of GROUPS) {
        const group = cards.filter(belongs);
        if (!group.length) continue;
        const choices = element("div", { className: "callsheet-test-cards" }, ...group.map((card) => this.choice(card)));
        const troubles = group[0].scenario;
        frame.append(
          troubles
            ? element("details", {}, element("summary", { textContent: title }), choices)
            : element("div", {}, element("p", { className: "callsheet-help", textContent: title }), choices),
        );
      }
      const kept = frame.closest("[data-test-cards]").querySelector("input[type=hidden]").value;
      const known = [...frame.querySelectorAll("input")];
      const chosen = known.find((input) => input.value === kept) ?? known[0];
      chosen.checked = true;
      chosen.closest(".callsheet-card-frame details")?.setAttribute("open", ""); // its group, not the form around
      frame.addEventListener("change", () => this.listeners.forEach((listen) => listen({})));
    }

    choice({ token, summary, brand, last4 }) {
      // Without a name of its own for the form: what is chosen is posted as a token, as with the real field.
      const input = element("input", { type: "radio", name: this.name, value: token });
      input.setAttribute("form", "callsheet-nothing");
      const known = summary.toLowerCase().startsWith(brand.toLowerCase()) ? "" : `${brand} `;
      return element("label", {}, input, element("span", {}, `${summary} `, element("small", {}, `${known}${last4}`)));
    }

    on(event, listen) {
      if (event === "change") this.listeners.push(listen);
    }

    focus() {
      this.frame.querySelector("input:checked")?.focus();
    }

    async chosen() {
      await this.ready;
      return { id: this.frame.querySelector("input:checked").value };
    }
  }

  window.Stripe = () => ({
    elements: () => {
      const elements = { submit: async () => ({}), create: () => (elements.field = new Field()) };
      return elements;
    },
    createToken: async (field) => ({ token: await field.chosen() }),
    createPaymentMethod: async ({ card }) => ({ paymentMethod: await card.chosen() }),
    createConfirmationToken: async ({ elements }) => ({ confirmationToken: await elements.field.chosen() }),
  });
})();
