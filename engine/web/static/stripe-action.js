// Has the gateway's script do what a payment still asks of its payer, such as a word with the bank; then the page is
// asked again what came of it.
"use strict";

(() => {
  const box = document.querySelector("[data-callsheet-action]");
  const say = (text) => {
    box.textContent = text;
  };

  async function act() {
    const { key, account, secret, waiting } = box.dataset;
    say(waiting);
    const stripe = window.Stripe(key, account ? { stripeAccount: account } : {});
    const { error, paymentIntent, setupIntent } = await stripe.handleNextAction({ clientSecret: secret });
    const intent = paymentIntent ?? setupIntent ?? error?.payment_intent ?? error?.setup_intent;
    if (intent && intent.status !== "requires_action") location.reload();
    else if (error) say(error.message);
  }

  act().catch(() => say(box.dataset.unavailable));
})();
